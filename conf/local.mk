# what an operator installs
profilesdir = $(pkgdatadir)/profiles
dist_profiles_DATA = conf/profiles/m365-connector.yaml conf/profiles/m365-replies.yaml \
    conf/profiles/m365-submission.yaml conf/profiles/m365-trial.yaml
schedulesdir = $(pkgdatadir)/schedules
dist_schedules_DATA = conf/schedules/cautious.yaml conf/schedules/domain-ramp.yaml \
    conf/schedules/new-tenant.yaml
prometheusdir = $(pkgdatadir)/prometheus
dist_prometheus_DATA = conf/prometheus/sendgov.rules.yaml
# A sample to copy from: the configuration of this host is nobody's but the operator's.
dist_pkgdata_DATA = conf/sendgov.yaml conf/sendgov.schema.json
EXTRA_DIST += conf/quickstart.yaml

systemdunitdir = $(systemdsystemunitdir)
nodist_systemdunit_DATA = conf/systemd/sendgov.service
sysusersdir = $(prefix)/lib/sysusers.d
dist_sysusers_DATA = conf/systemd/sysusers.d/sendgov.conf
tmpfilesdir = $(prefix)/lib/tmpfiles.d
dist_tmpfiles_DATA = conf/systemd/tmpfiles.d/sendgov.conf
EXTRA_DIST += conf/systemd/sendgov.service.in
CLEANFILES += conf/systemd/sendgov.service

conf/systemd/sendgov.service: conf/systemd/sendgov.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) conf/systemd && \
	    $(SED) -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
	    $(srcdir)/conf/systemd/sendgov.service.in > $@.tmp && mv $@.tmp $@
