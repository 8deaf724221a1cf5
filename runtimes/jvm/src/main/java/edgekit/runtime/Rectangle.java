package edgekit.runtime;

import java.util.Arrays;
import java.util.List;

/**
 * The rotated rectangle of least area around at least one point, by rotating calipers over the hull; OpenCV's
 * minAreaRect and boxPoints. Its float32 arithmetic is kept, as it decides between equally small ones.
 */
final class Rectangle {
    final float[][] corners; // [4][x, y], clockwise from the upper left
    final float shorterSide;

    private Rectangle(float[][] corners, float shorterSide) {
        this.corners = corners;
        this.shorterSide = shorterSide;
    }

    private static final class Box {
        final float x;
        final float y;
        final float width;
        final float height;
        final float angle; // degrees

        Box(float x, float y, float[] along, float[] down) {
            this.x = x;
            this.y = y;
            width = length(along);
            height = length(down);
            float radians = (float) StrictMath.atan2(along[1], along[0]);
            angle = (float) (radians * 180 / Math.PI);
        }

        private static float length(float[] v) {
            return (float) Math.sqrt((double) v[0] * v[0] + (double) v[1] * v[1]);
        }
    }

    static Rectangle around(List<Pixel> points) {
        List<Pixel> whole = Hull.of(points);
        float[][] hull = new float[whole.size()][];
        for (int i = 0; i < hull.length; i++) {
            hull[i] = new float[] {whole.get(i).x, whole.get(i).y};
        }
        Box box = hull.length > 2 ? calipers(hull) : flat(hull[0], hull[hull.length - 1]);
        double angle = box.angle * Math.PI / 180;
        float b = (float) StrictMath.cos(angle) * 0.5F;
        float a = (float) StrictMath.sin(angle) * 0.5F;
        float[] first = {box.x - a * box.height - b * box.width, box.y + b * box.height - a * box.width};
        float[] second = {box.x + a * box.height - b * box.width, box.y - b * box.height - a * box.width};
        float[][] corners = {
            first,
            second,
            {2 * box.x - first[0], 2 * box.y - first[1]},
            {2 * box.x - second[0], 2 * box.y - second[1]}
        };
        return new Rectangle(ordered(corners), Math.min(box.width, box.height));
    }

    private static Box flat(float[] a, float[] b) {
        float[] way = {b[0] - a[0], b[1] - a[1]};
        return new Box((a[0] + b[0]) * 0.5F, (a[1] + b[1]) * 0.5F, way, new float[] {0, 0});
    }

    /** PaddleOCR's order: of the two left corners the upper one first, of the two right ones likewise. */
    private static float[][] ordered(float[][] corners) {
        Arrays.sort(corners, (a, b) -> a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0);
        boolean leftIsUpper = corners[1][1] > corners[0][1];
        boolean rightIsUpper = corners[3][1] > corners[2][1];
        return new float[][] {
            corners[leftIsUpper ? 0 : 1],
            corners[rightIsUpper ? 2 : 3],
            corners[rightIsUpper ? 3 : 2],
            corners[leftIsUpper ? 1 : 0]
        };
    }

    /** Turned clockwise by quarters, in mathematical coordinates. */
    private static float[] turned(float x, float y, int quarters) {
        switch (quarters) {
            case 1:
                return new float[] {y, -x};
            case 2:
                return new float[] {-x, -y};
            case 3:
                return new float[] {-y, x};
            default:
                return new float[] {x, y};
        }
    }

    private static Box calipers(float[][] hull) {
        int n = hull.length;
        float[][] edges = new float[n][];
        float[] shares = new float[n]; // 1 / length
        int lowest = 0;
        int rightmost = 0;
        int highest = 0;
        int leftmost = 0;
        for (int i = 0; i < n; i++) {
            leftmost = hull[i][0] < hull[leftmost][0] ? i : leftmost;
            rightmost = hull[i][0] > hull[rightmost][0] ? i : rightmost;
            highest = hull[i][1] > hull[highest][1] ? i : highest;
            lowest = hull[i][1] < hull[lowest][1] ? i : lowest;
            float[] to = hull[(i + 1) % n];
            edges[i] = new float[] {to[0] - hull[i][0], to[1] - hull[i][1]};
            double dx = edges[i][0];
            double dy = edges[i][1];
            shares[i] = (float) (1.0 / Math.sqrt(dx * dx + dy * dy));
        }
        // The points that the four sides touch. Each turn lays a side along the edge that asks for the smallest turn.
        int[] touched = {lowest, rightmost, highest, leftmost};
        float least = Float.MAX_VALUE;
        float[] base = new float[2];
        float width = 0;
        float height = 0;
        float[] left = new float[2];
        float[] low = new float[2];
        for (int k = 0; k < n; k++) {
            int first = 0;
            for (int side = 1; side < 4; side++) {
                float[] asked = turned(edges[touched[side]][0], edges[touched[side]][1], side);
                float[] a = turned(asked[0], asked[1], 1);
                float[] b = turned(edges[touched[first]][0], edges[touched[first]][1], first);
                if (a[0] * b[0] + a[1] * b[1] < 0) {
                    first = side;
                }
            }
            int at = touched[first];
            float[] way = turned(edges[at][0] * shares[at], edges[at][1] * shares[at], first);
            touched[first] = (at + 1) % n;
            float[] l = hull[touched[3]];
            float[] r = hull[touched[1]];
            float[] b = hull[touched[0]];
            float[] t = hull[touched[2]];
            float wide = (r[0] - l[0]) * way[0] + (r[1] - l[1]) * way[1];
            float high = -(t[0] - b[0]) * way[1] + (t[1] - b[1]) * way[0];
            float area = wide * high;
            if (area <= least) {
                least = area;
                base = way;
                width = wide;
                height = high;
                left = l;
                low = b;
            }
        }
        // The corner where the lines through the left and the lowest point meet.
        float a1 = base[0];
        float b1 = base[1];
        float a2 = -base[1];
        float b2 = base[0];
        float c1 = a1 * left[0] + left[1] * b1;
        float c2 = a2 * low[0] + low[1] * b2;
        float share = 1.0F / (a1 * b2 - a2 * b1);
        float cornerX = (c1 * b2 - c2 * b1) * share;
        float cornerY = (a1 * c2 - a2 * c1) * share;
        float[] across = {a1 * width, b1 * width};
        float[] up = {a2 * height, b2 * height};
        return new Box(cornerX + (across[0] + up[0]) * 0.5F, cornerY + (across[1] + up[1]) * 0.5F, across, up);
    }
}
