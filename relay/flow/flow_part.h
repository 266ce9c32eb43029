/* flow_part: what the files of flow share: its parts, and the jobs it owns. */
#ifndef SENDGOV_FLOW_FLOW_PART_H
#define SENDGOV_FLOW_FLOW_PART_H

#include "relay/base/list.h"
#include "relay/base/metric.h"
#include "relay/flow/flow.h"
#include "relay/flow/hint.h"
#include "relay/net/loop.h"
#include "relay/store/store.h"
#include "relay/upstream/upstream.h"

struct flow {
    struct loop *loop;
    struct store *store;
    struct upstream *upstream;
    struct metrics *metrics;
    struct config *config;
    struct slots jobs;
    struct list all; /* the same jobs */
    struct hints hints;
};

/* What this message is to be charged by the limits of f->config. Not 0: too many limits apply. */
int flow_plan_message(struct flow *f, const struct message *m, struct charge_request *request_out);

#endif
