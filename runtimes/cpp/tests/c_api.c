/* The C API from C: edgekit-c-api BUNDLE PICTURE prints the answer, then what a missing bundle gives. */
#include <edgekit.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char** words) {
    if (count != 3) return 2;
    FILE* file = fopen(words[2], "rb");
    if (!file) return 4;
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    rewind(file);
    uint8_t* data = malloc((size_t)size);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) return 4;
    fclose(file);

    edgekit_model* model = NULL;
    char *error = NULL, *json = NULL;
    int code = edgekit_open(words[1], NULL, 1, &model, &error);
    if (code == 0) code = edgekit_run_file(model, data, (size_t)size, &json, &error);
    if (code != 0) {
        fprintf(stderr, "%s\n", error);
        return code;
    }
    printf("%s\n", json);
    edgekit_free(json);
    code = edgekit_run_pixels(model, data, 0, 0, 0, &json, &error);
    printf("%d %s\n", code, error);
    edgekit_free(error);
    edgekit_close(model);
    code = edgekit_open("/nowhere", NULL, 1, &model, &error);
    printf("%d %s\n", code, error);
    edgekit_free(error);
    free(data);
    return 0;
}
