package edgekit.runtime;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The convex hull without points on its sides, clockwise in a picture; it begins where OpenCV's begins. */
final class Hull {
    private Hull() {}

    static List<Pixel> of(List<Pixel> points) {
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < points.size(); i++) {
            order.add(i);
        }
        order.sort((a, b) -> {
            Pixel p = points.get(a);
            Pixel q = points.get(b);
            return p.x != q.x ? Integer.compare(p.x, q.x) : Integer.compare(p.y, q.y);
        });
        List<Integer> distinct = new ArrayList<>();
        for (int index : order) {
            if (distinct.isEmpty() || !points.get(last(distinct)).equals(points.get(index))) {
                distinct.add(index);
            }
        }
        // Andrew's monotone chain: from the rightmost point over the lowest of a picture to the leftmost, and back.
        List<Integer> hull = new ArrayList<>();
        for (int i = distinct.size() - 1; i >= 0; i--) {
            add(hull, 0, points, distinct.get(i));
        }
        int back = hull.size() - 1;
        for (int index : distinct.subList(1, distinct.size())) {
            add(hull, back, points, index);
        }
        if (hull.size() > 1) {
            hull.remove(hull.size() - 1);
        }
        if (hull.size() > 2) {
            startAsInput(hull);
        }
        List<Pixel> result = new ArrayList<>();
        for (int index : hull) {
            result.add(points.get(index));
        }
        return result;
    }

    private static int last(List<Integer> list) {
        return list.get(list.size() - 1);
    }

    private static void add(List<Integer> hull, int from, List<Pixel> points, int index) {
        while (hull.size() >= from + 2
                && cross(points.get(hull.get(hull.size() - 2)), points.get(last(hull)), points.get(index)) <= 0) {
            hull.remove(hull.size() - 1);
        }
        hull.add(index);
    }

    private static long cross(Pixel o, Pixel a, Pixel b) {
        return (long) (a.x - o.x) * (b.y - o.y) - (long) (a.y - o.y) * (b.x - o.x);
    }

    /**
     * Where a hull begins decides between rectangles of equal area: as in OpenCV, with the first point of the input when
     * the hull goes round in the input's order, with the last when it goes against it.
     */
    private static void startAsInput(List<Integer> hull) {
        int rising = 0;
        for (int i = 0; i < hull.size(); i++) {
            rising += hull.get(i) < hull.get((i + 1) % hull.size()) ? 1 : 0;
        }
        if (rising == hull.size() - 1) {
            Collections.rotate(hull, -hull.indexOf(Collections.min(hull)));
        } else if (rising == 1) {
            Collections.rotate(hull, -hull.indexOf(Collections.max(hull)));
        }
    }
}
