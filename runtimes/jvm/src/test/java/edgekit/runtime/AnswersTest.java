package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Raw outputs whose answers can be told by hand. */
class AnswersTest {
    private static final Size SIDE = new Size(10, 10);

    private static Tensor tensor(float[] values, long... shape) {
        return new Tensor(shape, values);
    }

    private static Detections detections(Detections.Post post, float[] boxes, float[] scores, int classes) {
        long anchors = boxes.length / 4;
        Map<String, Tensor> outputs =
                Map.of("b", tensor(boxes, 1, anchors, 4), "s", tensor(scores, 1, classes, anchors));
        return post.answer(outputs, List.of("cat", "dog"), SIDE, new Size(20, 30));
    }

    @Test
    void theHigherOfTwoOverlappingBoxesStaysInEachClass() {
        // IoU of the first two: 80 / 120.
        float[] boxes = {0, 0, 10, 10, 0, 2, 10, 12, 5, 5, 6, 6};
        float[] scores = {0.5F, 0.6F, 0.01F, 0.9F, 0, 0.7F};
        Detections.Post post = new Detections.Post("b", "s", new int[0], 0.025F, 0.6F, 1000, 100);
        List<Detections.Found> things = detections(post, boxes, scores, 2).things;
        assertEquals(3, things.size());
        assertEquals("dog", things.get(0).label);
        assertEquals(0.7F, things.get(1).score);
        assertEquals(0.6F, things.get(2).score); // the cat at 0.5 is covered
        // From an input of 10 x 10 to a picture 20 high and 30 wide.
        assertEquals(15, things.get(1).x1);
        assertEquals(10, things.get(1).y1);
        assertEquals(18, things.get(1).x2);
        assertEquals(12, things.get(1).y2);

        Detections.Post lax = new Detections.Post("b", "s", new int[0], 0.025F, 0.7F, 1000, 100);
        assertEquals(4, detections(lax, boxes, scores, 2).things.size());
        Detections.Post few = new Detections.Post("b", "s", new int[0], 0.025F, 0.7F, 1, 1);
        assertEquals(1, detections(few, boxes, scores, 2).things.size());
    }

    @Test
    void boxesAreInUnitsOfTheirLevelsStride() {
        // 10 x 10 has four anchors at stride 8 and one at stride 16.
        float[] boxes = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};
        float[] scores = {0, 0, 0, 0.5F, 0.9F};
        Detections.Post post = new Detections.Post("b", "s", new int[] {8, 16}, 0.025F, 0.6F, 1000, 100);
        List<Detections.Found> things = detections(post, boxes, scores, 1).things;
        assertEquals(16 * 3, things.get(0).x2);
        assertEquals(8 * 2, things.get(1).y2);
        Detections.Post other = new Detections.Post("b", "s", new int[] {8}, 0.025F, 0.6F, 1000, 100);
        EdgekitException error =
                assertThrows(EdgekitException.class, () -> detections(other, boxes, scores, 1));
        assertEquals("EK409", error.code());
    }

    @Test
    void ofEqualClassesTheLowerOneIsBetter() {
        Map<String, Tensor> outputs = Map.of("p", tensor(new float[] {0.2F, 0.4F, 0.4F, Float.NaN}, 1, 4));
        Classes found = new Classes.Post("p", 3).answer(outputs, Collections.emptyList(), SIDE, SIDE);
        assertEquals(List.of("1", "2", "0"), List.of(found.top.get(0).label, found.top.get(1).label, found.top.get(2).label));
        EdgekitException error = assertThrows(
                EdgekitException.class, () -> new Classes.Post("p", 3).answer(outputs, List.of("a"), SIDE, SIDE));
        assertEquals("EK408", error.code());
    }

    private static Reading read(String labels, int... classes) {
        int count = labels.length() + 2;
        float[] values = new float[classes.length * count];
        for (int step = 0; step < classes.length; step++) {
            values[step * count + classes[step]] = 0.5F + 0.01F * step;
        }
        Map<String, Tensor> outputs = Map.of("p", tensor(values, 1, classes.length, count));
        return new Reading.Post("p", true).answer(outputs, List.of(labels.split("")), SIDE, SIDE);
    }

    @Test
    void repeatsAndBlanksAreDropped() {
        assertEquals("aab b", read("ab", 0, 1, 1, 0, 1, 2, 3, 2, 2).text);
        assertEquals(0.515F, read("ab", 0, 1, 2).score, 1e-6);
        assertEquals("", read("ab", 0, 0).text);
        assertEquals(0, read("ab", 0, 0).score);
    }

    @Test
    void aDictionaryOfAnotherLengthIsRefused() {
        Map<String, Tensor> outputs = Map.of("p", tensor(new float[8], 1, 2, 4));
        Reading.Post post = new Reading.Post("p", false);
        EdgekitException error =
                assertThrows(EdgekitException.class, () -> post.answer(outputs, List.of("a", "b"), SIDE, SIDE));
        assertEquals("EK408", error.code());
        assertTrue(error.getMessage().contains("4 classes, expected 3"), error.getMessage());
    }

    @Test
    void aBarOfTextIsFoundGrown() {
        // A bar 20 wide and 6 high; 120 * 1.5 / 52 = 3.46 beyond each side, of whole pixels.
        float[] map = new float[40 * 60];
        for (int y = 10; y <= 16; y++) {
            for (int x = 20; x <= 40; x++) {
                map[y * 60 + x] = 0.9F;
            }
        }
        Regions.Post post = new Regions.Post("m", 0.3F, 0.6, 1.5, 1000, 3);
        Regions found = post.answer(Map.of("m", tensor(map, 1, 1, 40, 60)), List.of(), SIDE, new Size(80, 60));
        assertEquals(1, found.regions.size());
        Regions.Found bar = found.regions.get(0);
        assertEquals(0.9F, bar.score, 1e-6);
        double[][] wanted = {{17, 14}, {43, 14}, {43, 38}, {17, 38}};
        for (int i = 0; i < 4; i++) {
            assertEquals(wanted[i][0], bar.corners()[i][0], 1);
            assertEquals(wanted[i][1], bar.corners()[i][1], 2);
        }
    }

    @Test
    void outputsOfAnotherNameOrShapeAreRefused() {
        Classes.Post post = new Classes.Post("p", 3);
        for (Map<String, Tensor> outputs : List.of(
                Map.<String, Tensor>of(), Map.of("q", tensor(new float[2], 1, 2)), Map.of("p", tensor(new float[2], 2)),
                Map.of("p", tensor(new float[2], 2, 1)))) {
            EdgekitException error =
                    assertThrows(EdgekitException.class, () -> post.answer(outputs, List.of(), SIDE, SIDE));
            assertEquals("EK409", error.code());
        }
    }

    private static String difference(Answers.Closeness closeness, String wanted, String got) {
        JsonObject first = JsonFields.parse(wanted.getBytes(), "wanted").json();
        JsonObject second = JsonFields.parse(got.getBytes(), "got").json();
        Detections.Post post = new Detections.Post("b", "s", new int[0], 0.025F, 0.6F, 1000, 100);
        return new Answers(post, first).difference(second, closeness);
    }

    @Test
    void detectionsWithinTheNoiseOfTheThresholdMayBeThereOrNot() {
        Answers.Closeness same = Answers.Closeness.SAME;
        String two = "{\"detections\": [{\"class\": 1, \"label\": \"a\", \"score\": 0.9, \"box\": [1, 2, 3, 4]},"
                + "{\"class\": 0, \"label\": \"b\", \"score\": 0.0255, \"box\": [1, 2, 3, 4]}]}";
        String near = "{\"detections\": [{\"class\": 1, \"label\": \"a\", \"score\": 0.9005, \"box\": [1, 2.4, 3, 4]},"
                + "{\"class\": 0, \"label\": \"b\", \"score\": 0.0251, \"box\": [7, 2, 9, 4]}]}";
        assertEquals("", difference(same, two, near));
        assertEquals("", difference(same, two, near.replaceAll(",.\"class\": 0.*}", "") + "]}"));
        assertTrue(difference(same, two, near.replace("2.4", "2.6")).startsWith("lacks"));
        assertTrue(difference(same, two, near.replace("0.9005", "0.902")).startsWith("lacks"));
        assertTrue(difference(same, near.replace("0.0251", "0.1"), two).startsWith("lacks"));
        assertTrue(difference(same, "{\"detections\": 3}", two).contains("damaged"));
        assertTrue(difference(same, "{\"detections\": [3]}", two).contains("damaged"));
    }

    @Test
    void anotherRoundingMayMoveAThingByAShareOfItsSide() {
        Answers.Closeness alike = Answers.Closeness.ALIKE;
        String one = "{\"detections\": [{\"class\": 1, \"label\": \"a\", \"score\": 0.9, \"box\": [0, 0, 100, 20]}]}";
        assertEquals("", difference(alike, one, one.replace("0.9", "0.81").replace("100", "104")));
        assertTrue(difference(alike, one, one.replace("0.9", "0.79")).startsWith("lacks"));
        assertTrue(difference(alike, one, one.replace("100", "106")).startsWith("lacks"));
        assertTrue(difference(alike, one, "{\"detections\": []}").startsWith("lacks"));
        // What is not certain may be there or not.
        assertEquals("", difference(alike, one.replace("0.9", "0.5"), "{\"detections\": []}"));
    }
}
