/* edgekit's bundles on a device, for C and for whatever calls C.
 *
 * Every function returns 0, or a code that is the hundreds digit of an error "EK..." (README, "Exit codes"); then
 * `*error`, where it is wanted, is a message. Texts given out are UTF-8 and the caller's: give them back with
 * edgekit_free. `error` and other outputs may be NULL. A model is for one thread at a time; several models may run on
 * several threads.
 */
#ifndef EDGEKIT_H
#define EDGEKIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEKIT_API __attribute__((visibility("default")))

typedef struct edgekit_model edgekit_model;

/* "0.1.0"; not to be freed. */
EDGEKIT_API const char* edgekit_version(void);

/* Loads a bundle's network. `kind`: "int8.onnx", "fp32.onnx", "int8.nb", "fp32.nb", "int8", "fp32", or NULL for the
 * manifest's default. */
EDGEKIT_API int edgekit_open(const char* bundle, const char* kind, int threads, edgekit_model** model, char** error);
EDGEKIT_API void edgekit_close(edgekit_model* model);

/* The answer for a PNG or JPEG file's bytes, as JSON:
 *   {"top": [{"class", "label", "probability"}]}                   classification, best first
 *   {"detections": [{"class", "label", "score", "box": [x1, y1, x2, y2]}]}   best first, pixels of the picture
 *   {"regions": [{"score", "points": [[x, y], ...]}]}              text detection, clockwise from the upper left
 *   {"text", "score"}                                              text recognition */
EDGEKIT_API int edgekit_run_file(edgekit_model* model, const uint8_t* data, size_t size, char** json, char** error);

/* The same for pixels: blue green red, 8 bits each, rows `stride` bytes apart. */
EDGEKIT_API int edgekit_run_pixels(edgekit_model* model, const uint8_t* bgr, int height, int width, size_t stride,
                                   char** json, char** error);

/* Holds a bundle against its golden vectors. 0: passed; 3: failed, `*json` says at what stage and why. */
EDGEKIT_API int edgekit_self_test(const char* bundle, const char* kind, int threads, char** json, char** error);

EDGEKIT_API void edgekit_free(char* text);

#ifdef __cplusplus
}
#endif

#endif
