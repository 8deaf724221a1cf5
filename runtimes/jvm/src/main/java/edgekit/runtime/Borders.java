package edgekit.runtime;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * The borders of what is set in a mask, outer ones and those of holes, as corner points of 8-connected chains; the border
 * found last comes first. Suzuki and Abe, "Topological structural analysis of digitized binary images by border
 * following", 1985; OpenCV's findContours(RETR_LIST, CHAIN_APPROX_SIMPLE).
 */
final class Borders {
    // The eight neighbours, counter-clockwise from the right.
    private static final int[] DX = {1, 1, 0, -1, -1, -1, 0, 1};
    private static final int[] DY = {0, -1, -1, -1, 0, 1, 1, 1};

    private static final byte BACKGROUND = 0;
    private static final byte NEW = 1;
    private static final byte VISITED = 2;
    private static final byte VISITED_RIGHT = -2;

    private final int stride;
    private final byte[] marks; // with a rim of background, so that every pixel has eight neighbours

    private Borders(boolean[] mask, Size size) {
        stride = size.width + 2;
        marks = new byte[stride * (size.height + 2)];
        for (int y = 0; y < size.height; y++) {
            for (int x = 0; x < size.width; x++) {
                marks[index(x, y)] = mask[y * size.width + x] ? NEW : BACKGROUND;
            }
        }
    }

    static List<List<Pixel>> of(boolean[] mask, Size size) {
        Borders canvas = new Borders(mask, size);
        List<List<Pixel>> found = new ArrayList<>();
        for (int y = 0; y < size.height; y++) {
            for (int x = 0; x < size.width; x++) {
                byte left = canvas.marks[canvas.index(x - 1, y)];
                byte here = canvas.marks[canvas.index(x, y)];
                if (left == BACKGROUND && here == NEW) {
                    found.add(canvas.follow(x, y, false));
                } else if (left > 0 && here == BACKGROUND) {
                    found.add(canvas.follow(x - 1, y, true));
                }
            }
        }
        Collections.reverse(found);
        return found;
    }

    private int index(int x, int y) {
        return (y + 1) * stride + x + 1;
    }

    private boolean isBackground(int x, int y, int direction) {
        return marks[index(x + DX[direction], y + DY[direction])] == BACKGROUND;
    }

    /** Follows a border from its first pixel, marks it, and gives the points where it turns. */
    private List<Pixel> follow(int startX, int startY, boolean isHole) {
        int background = isHole ? 0 : 4; // the direction in which the scan met background
        int direction = background;
        do {
            direction = (direction + 7) % 8;
        } while (isBackground(startX, startY, direction) && direction != background);
        List<Pixel> corners = new ArrayList<>();
        if (direction == background) {
            marks[index(startX, startY)] = VISITED_RIGHT;
            corners.add(new Pixel(startX, startY));
            return corners;
        }
        int lastX = startX + DX[direction];
        int lastY = startY + DY[direction];
        int x = startX;
        int y = startY;
        int before = (direction + 4) % 8; // the direction of the step that led here
        while (true) {
            int from = direction; // where the last pixel lies
            int turn = from;
            do {
                turn++;
            } while (isBackground(x, y, turn % 8));
            direction = turn % 8;
            // Was the right neighbour looked at and found to be background?
            if (direction > 0 && direction - 1 < from) {
                marks[index(x, y)] = VISITED_RIGHT;
            } else if (marks[index(x, y)] == NEW) {
                marks[index(x, y)] = VISITED;
            }
            if (direction != before) {
                corners.add(new Pixel(x, y));
            }
            before = direction;
            int nextX = x + DX[direction];
            int nextY = y + DY[direction];
            if (nextX == startX && nextY == startY && x == lastX && y == lastY) {
                return corners;
            }
            x = nextX;
            y = nextY;
            direction = (direction + 4) % 8;
        }
    }
}
