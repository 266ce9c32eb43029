# what an operator installs
conf_profiles = conf/profiles/m365-connector.yaml conf/profiles/m365-replies.yaml conf/profiles/m365-submission.yaml
conf_schedules = conf/schedules/cautious.yaml conf/schedules/domain-ramp.yaml conf/schedules/new-tenant.yaml
profilesdir = $(pkgdatadir)/profiles
dist_profiles_DATA = $(conf_profiles)
schedulesdir = $(pkgdatadir)/schedules
dist_schedules_DATA = $(conf_schedules)
EXTRA_DIST += conf/quickstart.yaml
