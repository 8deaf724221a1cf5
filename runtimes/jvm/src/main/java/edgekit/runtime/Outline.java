package edgekit.runtime;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * The outline of a quad moved outwards by area * ratio / perimeter with round corners: points whose convex hull is that
 * of Clipper's offset (Vatti, 1992; JT_ROUND, arc tolerance 0.25). Corners are cut to whole pixels before and rounded
 * after.
 */
final class Outline {
    private static final double ARC_TOLERANCE = 0.25;
    private static final double NOTHING = 1e-20;

    private Outline() {}

    /** Empty when in whole pixels the quad [4][x, y] has fewer than three corners. */
    static List<Pixel> grown(float[][] quad, double ratio) {
        double area = 0;
        double perimeter = 0;
        for (int i = 0; i < quad.length; i++) {
            float[] a = quad[i];
            float[] b = quad[(i + 1) % quad.length];
            area += ((double) a[0] - quad[0][0]) * ((double) b[1] - quad[0][1])
                    - ((double) b[0] - quad[0][0]) * ((double) a[1] - quad[0][1]);
            double dx = (double) b[0] - a[0];
            double dy = (double) b[1] - a[1];
            perimeter += Math.sqrt(dx * dx + dy * dy);
        }
        List<Pixel> ring = cut(quad);
        if (ring.size() < 3 || perimeter == 0) {
            return Collections.emptyList();
        }
        double distance = Math.abs(area) / 2 * ratio / perimeter;
        return distance < NOTHING ? ring : moved(ring, distance);
    }

    /** In whole pixels, without equal neighbours, turning to the right in a picture. */
    private static List<Pixel> cut(float[][] quad) {
        List<Pixel> ring = new ArrayList<>();
        for (float[] corner : quad) {
            Pixel pixel = new Pixel((int) corner[0], (int) corner[1]);
            if (ring.isEmpty() || !ring.get(ring.size() - 1).equals(pixel)) {
                ring.add(pixel);
            }
        }
        while (ring.size() > 1 && ring.get(0).equals(ring.get(ring.size() - 1))) {
            ring.remove(ring.size() - 1);
        }
        long twiceArea = 0;
        for (int i = 0; i < ring.size(); i++) {
            Pixel a = ring.get(i);
            Pixel b = ring.get((i + 1) % ring.size());
            twiceArea += (long) a.x * b.y - (long) b.x * a.y;
        }
        if (twiceArea < 0) {
            Collections.reverse(ring);
        }
        return ring;
    }

    private static List<Pixel> moved(List<Pixel> ring, double distance) {
        double tolerance = Math.min(ARC_TOLERANCE, distance * ARC_TOLERANCE);
        double steps = Math.min( // of a full turn
                Math.PI / StrictMath.acos(1 - tolerance / distance), distance * Math.PI);
        double sine = StrictMath.sin(2 * Math.PI / steps);
        double cosine = StrictMath.cos(2 * Math.PI / steps);
        int n = ring.size();
        double[][] normals = new double[n][];
        for (int i = 0; i < n; i++) {
            Pixel a = ring.get(i);
            Pixel b = ring.get((i + 1) % n);
            double dx = b.x - a.x;
            double dy = b.y - a.y;
            double share = 1 / Math.sqrt(dx * dx + dy * dy);
            normals[i] = new double[] {dy * share, -dx * share};
        }
        List<Pixel> outline = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            Pixel corner = ring.get(i);
            double[] before = normals[(i + n - 1) % n];
            double[] after = normals[i];
            double turn = Math.max(-1, Math.min(1, before[0] * after[1] - after[0] * before[1]));
            double along = before[0] * after[0] + before[1] * after[1];
            if (Math.abs(turn * distance) < 1 && along > 0) {
                outline.add(beside(corner, before[0], before[1], distance));
                continue;
            }
            if (turn < 0) { // the corner points inwards
                outline.add(beside(corner, before[0], before[1], distance));
                outline.add(corner);
                outline.add(beside(corner, after[0], after[1], distance));
                continue;
            }
            int count = Math.max(whole(steps / (2 * Math.PI) * Math.abs(StrictMath.atan2(turn, along))), 1);
            double x = before[0];
            double y = before[1];
            for (int k = 0; k < count; k++) {
                outline.add(beside(corner, x, y, distance));
                double turned = x * cosine - sine * y;
                y = x * sine + y * cosine;
                x = turned;
            }
            outline.add(beside(corner, after[0], after[1], distance));
        }
        return outline;
    }

    private static Pixel beside(Pixel corner, double x, double y, double distance) {
        return new Pixel(whole(corner.x + x * distance), whole(corner.y + y * distance));
    }

    private static int whole(double value) {
        return (int) (value < 0 ? value - 0.5 : value + 0.5);
    }
}
