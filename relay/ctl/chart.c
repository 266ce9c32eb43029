#include "relay/ctl/chart.h"

#include <inttypes.h>
#include <string.h>

#include "relay/base/file.h"

/* The picture in pixels; within it, the plot. */
enum { WIDTH = 860, HEIGHT = 440, LEFT = 90, RIGHT = 840, TOP = 80, BOTTOM = 380 };

#define TICKS_MAX 12
#define LOG_FROM 100 /* times the smallest value */

struct scale {
    bool is_log;
    uint64_t low, high; /* the ends of the axis */
    uint64_t ticks[TICKS_MAX];
    size_t n_ticks;
};

/* ---- scales, in integers ---- */

/* log2 of v >= 1 in 1024ths, by squaring the mantissa. */
static uint64_t
log2_1024(uint64_t v)
{
    unsigned whole = 63u - (unsigned)__builtin_clzll(v), fraction = 0;
    uint64_t m = whole >= 31 ? v >> (whole - 31) : v << (31 - whole); /* 1 is 2^31 */

    for (int bit = 0; bit < 10; bit++) {
        m = m * m >> 31;
        fraction <<= 1;
        if (m >> 32) {
            fraction |= 1;
            m >>= 1;
        }
    }
    return ((uint64_t)whole << 10) + fraction;
}

/* 1, 2 or 5 times a power of ten, the least that is not below v. */
static uint64_t
round_number(uint64_t v)
{
    static const uint64_t steps[] = {1, 2, 5, 10};
    uint64_t power = 1;

    while (power <= UINT64_MAX / 100 && v > power * 10)
        power *= 10;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (steps[i] * power >= v)
            return steps[i] * power;
    return v;
}

static void
scale_linear(struct scale *s, uint64_t most)
{
    uint64_t step = round_number(most / 5 + (most % 5 != 0));

    if (step == 0)
        step = 1;
    for (uint64_t v = 0; s->n_ticks < TICKS_MAX; v += step) {
        s->ticks[s->n_ticks++] = v;
        if (v >= most && v > 0)
            break;
    }
    s->high = s->ticks[s->n_ticks - 1];
}

/* Powers of ten around what is shown. */
static void
scale_log(struct scale *s, uint64_t least, uint64_t most)
{
    s->is_log = true;
    s->low = 1;
    while (s->low < least / 10)
        s->low *= 10;
    for (uint64_t v = s->low; s->n_ticks < TICKS_MAX; v *= 10) {
        s->ticks[s->n_ticks++] = v;
        if (v >= most || v > UINT64_MAX / 10)
            break;
    }
    s->high = s->ticks[s->n_ticks - 1];
}

static struct scale
scale_of(const struct chart *c)
{
    struct scale s = {.low = 0};
    uint64_t least = UINT64_MAX, most = 0;

    for (size_t k = 0; k < c->n_series; k++)
        for (size_t i = 0; i < c->n; i++) {
            uint64_t v = c->series[k].values[i];

            if (v > most)
                most = v;
            if (v > 0 && v < least)
                least = v;
        }
    if (most / LOG_FROM > least)
        scale_log(&s, least, most);
    else
        scale_linear(&s, most);
    return s;
}

/* In tenths of a pixel from the top. */
static unsigned
y_of(const struct scale *s, uint64_t v)
{
    uint64_t high = s->high, low = s->low;
    unsigned __int128 rise = (unsigned)(BOTTOM - TOP) * 10u;

    v = v < low ? low : v > high ? high : v;
    if (s->is_log) {
        v = log2_1024(v);
        low = log2_1024(low);
        high = log2_1024(high);
    }
    return BOTTOM * 10u - (unsigned)(high > low ? rise * (v - low) / (high - low) : 0);
}

static unsigned
x_of(const struct chart *c, size_t i)
{
    return LEFT * 10u + (unsigned)((RIGHT - LEFT) * 10u * (2 * i + 1) / (2 * c->n));
}

/* ---- text ---- */

static void
add_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            buf_add_str(out, "&amp;");
        else if (*text == '<')
            buf_add_str(out, "&lt;");
        else if (*text == '>')
            buf_add_str(out, "&gt;");
        else if ((unsigned char)*text < 32 || (unsigned char)*text > 126)
            buf_add_str(out, "?");
        else
            buf_add(out, text, 1);
    }
}

/* 12345 as "12 345". */
static void
add_number(struct buf *out, uint64_t v)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRIu64, v);

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buf_add_str(out, " ");
        buf_add(out, &digits[i], 1);
    }
}

static void
add_label(struct buf *out, int x, int y, const char *anchor, const char *text)
{
    buf_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">", x, y, anchor);
    add_text(out, text);
    buf_add_str(out, "</text>\n");
}

/* ---- the parts of the picture ---- */

/* Colours that are told apart without seeing red or green; lines are dashed as well. */
static const char head[] =
    "<style>\n"
    ".back{fill:#fff}text{fill:#1f2328;font:13px system-ui,sans-serif}"
    ".title{font-size:17px;font-weight:600}\n"
    ".grid{stroke:#d1d9e0}.axis{stroke:#59636e}.line{fill:none;stroke-width:2.5}"
    ".halo{fill:none;stroke:#fff;stroke-width:5}\n"
    ".f0{fill:#0969da}.f1{fill:#bc4c00}.f2{fill:#8250df}.f3{fill:#1a7f37}\n"
    ".l0{stroke:#0969da}.l1{stroke:#bc4c00}.l2{stroke:#8250df;stroke-dasharray:7 4}"
    ".l3{stroke:#1a7f37;stroke-dasharray:2 4}\n"
    "@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#f0f6fc}.grid{stroke:#3d444d}"
    ".axis{stroke:#9198a1}.halo{stroke:#0d1117}\n"
    ".f0{fill:#4493f8}.f1{fill:#f0883e}.f2{fill:#ab7df8}.f3{fill:#3fb950}\n"
    ".l0{stroke:#4493f8}.l1{stroke:#f0883e}.l2{stroke:#ab7df8}.l3{stroke:#3fb950}}\n"
    "</style>\n<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n";

static void
add_y_axis(const struct chart *c, const struct scale *s, struct buf *out)
{
    char label[96];

    for (size_t i = 0; i < s->n_ticks; i++) {
        unsigned y = y_of(s, s->ticks[i]);

        buf_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%u.%u\" y2=\"%u.%u\"/>\n", LEFT, RIGHT,
            y / 10, y % 10, y / 10, y % 10);
        buf_printf(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">", LEFT - 8, y / 10 + 4);
        add_number(out, s->ticks[i]);
        buf_add_str(out, "</text>\n");
    }
    snprintf(label, sizeof(label), "%.60s%s", c->y_label, s->is_log ? " (logarithmic)" : "");
    buf_printf(out, "<g transform=\"rotate(-90 18 %d)\">", (TOP + BOTTOM) / 2);
    add_label(out, 18, (TOP + BOTTOM) / 2, "middle", label);
    buf_add_str(out, "</g>\n");
}

static void
add_x_axis(const struct chart *c, struct buf *out)
{
    size_t step = (size_t)round_number((c->n + TICKS_MAX - 1) / TICKS_MAX);

    buf_printf(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, RIGHT, BOTTOM,
        BOTTOM);
    for (size_t x = 1; x <= c->n; x = x == 1 && step > 2 ? step : x + step) {
        char number[24];

        snprintf(number, sizeof(number), "%zu", x);
        add_label(out, (int)(x_of(c, x - 1) / 10), BOTTOM + 20, "middle", number);
    }
    add_label(out, (LEFT + RIGHT) / 2, BOTTOM + 44, "middle", c->x_label);
}

static void
add_bars(const struct chart *c, const struct scale *s, size_t k, struct buf *out)
{
    unsigned wide = (unsigned)((RIGHT - LEFT) * 10u * 7 / (10 * c->n));

    if (wide < 5)
        wide = 5;
    buf_printf(out, "<g class=\"f%zu\">\n", k);
    for (size_t i = 0; i < c->n; i++) {
        unsigned y = y_of(s, c->series[k].values[i]), x = x_of(c, i) - wide / 2;

        buf_printf(out, "<rect x=\"%u.%u\" y=\"%u.%u\" width=\"%u.%u\" height=\"%u.%u\"><title>", x / 10,
            x % 10, y / 10, y % 10, wide / 10, wide % 10, (BOTTOM * 10u - y) / 10, (BOTTOM * 10u - y) % 10);
        add_text(out, c->x_label);
        buf_printf(out, " %zu, ", i + 1);
        add_text(out, c->series[k].name);
        buf_add_str(out, ": ");
        add_number(out, c->series[k].values[i]);
        buf_add_str(out, "</title></rect>\n");
    }
    buf_add_str(out, "</g>\n");
}

/* Where a logarithmic axis has no place, at 0, it is broken. */
static void
add_polyline(const struct chart *c, const struct scale *s, size_t k, const char *class, struct buf *out)
{
    bool is_open = false;

    for (size_t i = 0; i < c->n; i++) {
        unsigned y = y_of(s, c->series[k].values[i]), x = x_of(c, i);
        bool has_place = !s->is_log || c->series[k].values[i] > 0;

        if (is_open && !has_place)
            buf_add_str(out, "\"/>\n");
        if (!is_open && has_place)
            buf_printf(out, "<polyline class=\"%s\" points=\"", class);
        if (has_place)
            buf_printf(out, "%s%u.%u,%u.%u", is_open ? " " : "", x / 10, x % 10, y / 10, y % 10);
        is_open = has_place;
    }
    if (is_open)
        buf_add_str(out, "\"/>\n");
}

/* With an edge, so that it stands out from the bars behind it. */
static void
add_line(const struct chart *c, const struct scale *s, size_t k, struct buf *out)
{
    char class[32];

    snprintf(class, sizeof(class), "line l%zu", k);
    add_polyline(c, s, k, "halo", out);
    add_polyline(c, s, k, class, out);
}

static void
add_legend(const struct chart *c, struct buf *out)
{
    int x = LEFT;

    for (size_t k = 0; k < c->n_series; k++) {
        if (c->series[k].kind == CHART_BARS)
            buf_printf(out, "<rect class=\"f%zu\" x=\"%d\" y=\"50\" width=\"14\" height=\"12\"/>\n", k, x);
        else
            buf_printf(out, "<line class=\"line l%zu\" x1=\"%d\" x2=\"%d\" y1=\"56\" y2=\"56\"/>\n", k, x,
                x + 20);
        add_label(out, x + 26, 61, "start", c->series[k].name);
        x += 44 + 7 * (int)strlen(c->series[k].name);
    }
}

void
chart_format(const struct chart *c, struct buf *out)
{
    struct scale s = scale_of(c);

    buf_printf(out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
        "role=\"img\">\n<title>", WIDTH, HEIGHT, WIDTH, HEIGHT);
    add_text(out, c->title);
    buf_add_str(out, "</title>\n");
    buf_add_str(out, head);
    buf_printf(out, "<text class=\"title\" x=\"%d\" y=\"32\">", LEFT);
    add_text(out, c->title);
    buf_add_str(out, "</text>\n");
    add_legend(c, out);
    add_y_axis(c, &s, out);
    for (size_t k = 0; k < c->n_series; k++) {
        if (c->series[k].kind == CHART_BARS)
            add_bars(c, &s, k, out);
        else
            add_line(c, &s, k, out);
    }
    add_x_axis(c, out);
    buf_add_str(out, "</svg>\n");
}

enum ctl_exit
chart_save(struct ctl *c, const struct chart *chart)
{
    const char *path = ctl_option(c, "svg");
    struct buf out;
    struct err err;
    int failed;

    if (!path)
        return CTL_OK;
    buf_init(&out);
    chart_format(chart, &out);
    failed = file_replace(path, buf_span(&out), 0644, &err);
    buf_fini(&out);
    return failed ? ctl_fail(c, CTL_REFUSED, "%s", err.text) : CTL_OK;
}
