/* The process_* metrics every Prometheus dashboard knows, read from /proc/self (proc(5)). What cannot be read
 * is left out. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "relay/admin/scrape.h"

static void
add_value(struct buf *out, const char *name, const char *kind, const char *help, double value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, kind, name, value);
}

/* The fields of /proc/self/stat after the command's closing parenthesis, from field 3 on. */
static size_t
read_stat(double *fields, size_t max)
{
    char text[1024], *p, *save = NULL;
    FILE *f = fopen("/proc/self/stat", "re");
    size_t n = 0;

    if (!f)
        return 0;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    p = strrchr(text, ')');
    n = 0;
    for (p = p ? strtok_r(p + 1, " ", &save) : NULL; p && n < max; p = strtok_r(NULL, " ", &save))
        fields[n++] = strtod(p, NULL);
    return n;
}

static double
read_boot_time(void)
{
    char line[256];
    double sec = 0;
    FILE *f = fopen("/proc/stat", "re");

    while (f && sec == 0 && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "btime ", 6) == 0)
            sec = strtod(line + 6, NULL);
    }
    if (f)
        fclose(f);
    return sec;
}

static long
count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    long n = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 3; /* ".", ".." and the folder's own */
}

void
scrape_process(struct buf *out)
{
    double f[22], ticks = (double)sysconf(_SC_CLK_TCK), boot = read_boot_time();
    struct rlimit limit;
    long open_fds = count_descriptors();

    if (read_stat(f, 22) == 22) {
        add_value(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent.",
            (f[11] + f[12]) / ticks);
        add_value(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size.", f[20]);
        add_value(out, "process_resident_memory_bytes", "gauge", "Resident memory size.",
            f[21] * (double)sysconf(_SC_PAGESIZE));
        if (boot > 0)
            add_value(out, "process_start_time_seconds", "gauge", "Start of the process, seconds since 1970.",
                boot + f[19] / ticks);
    }
    if (open_fds >= 0)
        add_value(out, "process_open_fds", "gauge", "Open file descriptors.", (double)open_fds);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        add_value(out, "process_max_fds", "gauge", "Most file descriptors the process may open.",
            (double)limit.rlim_cur);
}
