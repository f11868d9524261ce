"""The service: images in by DICOM and HTTP, results back in the archive and on a page.

config     one TOML file and HILUM_SERVE_* variables; what is wrong with them, in words
users      who may log in: the configuration's, and a file's
check      what is wrong with a configuration on this machine, in words
records    tables of images, results, deliveries, work, history (SQLite or PostgreSQL)
store      files under hashed names, flushed before anybody is told that they are there
intake     the one door of C-STORE, STOW-RS and uploads
events     what changed, for whoever shows it
service    what every part holds: opened, not started
run        all of it started and stopped together
work       durable work: claimed under a lease, done once, taken over from the dead
worker     does what is due; processes that analyse, threads that send
supervisor keeps worker processes running
pipelines  bundles of the configuration, opened once
routing    which pipelines and destinations an image gets
analysis   a received image -> checked -> analysed, refused or failed; files of its result
explaining heat maps of results, when somebody asks
delivery   results to archives by C-STORE or STOW-RS, verified, with back-off and dead letters
commitment what archives report of objects that they were asked to keep
priors     earlier images of the patient, whose absence delays nothing
ups        UPS-RS: work items searched for, claimed, ended
worklist   the work items that are ours, step by step
peers, tls another DICOM node and what we ask it; TLS of both sides
node       the DICOM node (pynetdicom)
actions    what people ask for: retry, other pipelines, priority
logs       without identifiers
audit      append-only hash chain of PS3.15 A.5 messages
web/       HTTP: API, DICOMweb, sessions
monitor/   drift, agreement, shadow
static/    the built page

Identifiers of patients stay in the records and the store: names of files, logs and errors hold
hashes only.
"""
