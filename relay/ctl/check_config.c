/* check-config: what sendgovd -t does, with the answer as JSON where it is wanted. */
#include "relay/config/config.h"
#include "relay/ctl/ctl.h"

static enum ctl_exit
refuse(struct ctl *c, const char *text)
{
    json_t *o = json_pack("{s:b, s:s, s:s}", "ok", 0, "error", text, "code", "refused");

    if (!ctl_print_json(c, o))
        fprintf(c->err, "%s\n", text);
    json_decref(o);
    return CTL_REFUSED;
}

static json_t *
to_json(const struct config *config, const char *file)
{
    json_t *o = json_object(), *list = json_array();

    for (size_t i = 0; i < config->n_warnings; i++)
        json_array_append_new(list,
            json_pack(
                "{s:s, s:s}", "position", config->warnings[i].position, "text", config->warnings[i].text));
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
    json_t *o;

    if (!config)
        return refuse(c, err.text);
    o = to_json(config, file);
    if (!ctl_print_json(c, o)) {
        for (size_t i = 0; i < config->n_warnings; i++)
            fprintf(c->out, "%s: warning: %s\n", config->warnings[i].position, config->warnings[i].text);
        fprintf(c->out, "%s: ok\n", file);
    }
    json_decref(o);
    config_unref(&config);
    return CTL_OK;
}
