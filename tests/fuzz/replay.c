/* replay: runs a fuzz target over files instead of a fuzzer's ideas, so that `make check` exercises every
 * target with every compiler. Files and folders are given as arguments; without any, corpus/NAME beside the
 * source, NAME being that of the program (replay_NAME). Every input is also run cut short at each of its
 * first bytes. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1024 * 1024)
#define CUTS_MAX 300

/* A copy that ends where its memory does, for the sanitizers. */
static void
run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int
run_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    size_t n;

    if (f == NULL) {
        perror(path);
        return -1;
    }
    n = fread(data, 1, sizeof data, f);
    fclose(f);
    for (size_t cut = 0; cut < n && cut < CUTS_MAX; cut++)
        run(data, cut);
    run(data, n);
    return 1;
}

/* How many files were run, or -1. */
static int
run_path(const char *path)
{
    struct stat st;
    struct dirent *entry;
    DIR *dir;
    int n = 0;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return run_file(path);
    dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return -1;
    }
    while ((entry = readdir(dir)) != NULL) {
        char file[4096];

        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && run_path(file) >= 0)
            n++;
    }
    closedir(dir);
    return n;
}

int
main(int argc, char **argv)
{
    const char *name = strstr(argv[0], "replay_"), *srcdir = getenv("srcdir");
    char corpus[4096];
    int n = 0;

    for (int i = 1; i < argc; i++)
        n += run_path(argv[i]);
    if (argc == 1 && name != NULL) {
        snprintf(corpus, sizeof corpus, "%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : ".",
            name + strlen("replay_"));
        n = run_path(corpus);
    }
    printf("%s: %d inputs\n", argv[0], n);
    return n > 0 ? 0 : 1;
}
