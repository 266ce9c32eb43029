/* check-config: what sendgovd -t does, with the answer as JSON where it is wanted. */
#include "relay/config/preflight.h"
#include "relay/ctl/ctl.h"

/* As sendgovd -t prints it, which tools read: the position first. */
static enum ctl_exit
refuse(struct ctl *c, const char *text)
{
    if (c->json)
        return ctl_fail(c, CTL_REFUSED, "%s", text);
    fprintf(c->err, "%s\n", text);
    return CTL_REFUSED;
}

static void
add_warning(void *list, const char *position, const char *text)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "position", position, "text", text));
}

static void
print_warnings(struct ctl *c, const json_t *list)
{
    size_t i;
    json_t *w;

    json_array_foreach(list, i, w)
        fprintf(c->out, "%s: warning: %s\n", json_string_value(json_object_get(w, "position")),
            json_string_value(json_object_get(w, "text")));
}

static json_t *
to_json(const struct config *config, const char *file, json_t *list)
{
    json_t *o = json_object();

    json_object_set_new(o, "ok", json_true());
    json_object_set_new(o, "file", json_string(file));
    json_object_set_new(o, "hash", json_string(config->hash));
    json_object_set_new(o, "warnings", list);
    return o;
}

enum ctl_exit
check_config_run(struct ctl *c)
{
    const char *file = c->n_operands ? c->operands[0] : ctl_config_file(c);
    struct err err;
    struct config *config = config_load(file, &err);
    json_t *warnings = json_array(), *o;
    enum ctl_exit code = CTL_OK;

    if (!config || config_preflight(config, add_warning, warnings, &err) != 0) {
        code = refuse(c, err.text);
        json_decref(warnings);
    } else {
        for (size_t i = 0; i < config->n_warnings; i++)
            add_warning(warnings, config->warnings[i].position, config->warnings[i].text);
        o = to_json(config, file, warnings);
        if (!ctl_print_json(c, o)) {
            print_warnings(c, warnings);
            fprintf(c->out, "%s: ok\n", file);
        }
        json_decref(o);
    }
    config_unref(&config);
    return code;
}
