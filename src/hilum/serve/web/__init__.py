"""HTTP: the REST interface, DICOMweb, sessions and the page's files.

app        everything put together: `create_app(service)`
surround   around every request: limits of body and time, hosts, headers of the answers
problems   errors as RFC 9457 problem details, without identifiers
user       who asks: a name and a role
auth       how they show it: local users, sessions, cross-site requests
oidc       what an OpenID provider says of them
login      log in and out
shapes     what the REST interface takes and answers
images     images: listed, received, looked at, analysed
upload     files of an upload -> the intake
previews   small pictures for readers, kept
feedback   what readers say, and the catalog that training reads
admin      users, rules in force, destinations, the audit trail
stream     server-sent progress
dicomweb   STOW-RS, QIDO-RS
wado       WADO-RS: instances, headers, frames
decoded    WADO-RS: frames and objects in explicit little endian
rendering  WADO-RS: pictures and thumbnails
media      what DICOMweb answers in, and which of it a request takes
multipart  multipart/related in and out
query      what a QIDO-RS query asks for, and which data sets fit it
held       the DICOM objects that are held, own results included
monitor    what the monitor says
status     what this service can do, whether it lives
metrics    Prometheus
"""
