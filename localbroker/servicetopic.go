package localbroker

import "strings"

// service is one of AWS's services that devices reach by publishing.
type service byte

const (
	serviceShadow service = iota + 1
	serviceJobs
	serviceProvisioning
)

// role is what a service's topic is for.
type role byte

const (
	roleRequest role = iota + 1
	roleAnswer       // accepted or rejected, to one request
	roleNotice       // to whoever subscribes: deltas, documents, waiting jobs
)

// serviceTopic is a reserved topic taken apart.
type serviceTopic struct {
	service service
	role    role
	thing   string // empty for provisioning
	request string // the topic of the request, which an answer answers
	update  bool   // it is about an update of a shadow
	cbor    bool
}

// parseService takes the topic of a service apart; false for all others.
func parseService(topic string) (serviceTopic, bool) {
	rest, ok := strings.CutPrefix(topic, "$aws/")
	if !ok {
		return serviceTopic{}, false
	}
	s := serviceTopic{role: roleRequest, request: topic}
	for _, end := range [...]string{"/accepted", "/rejected"} {
		if request, ok := strings.CutSuffix(topic, end); ok {
			s.role, s.request = roleAnswer, request
			rest = strings.TrimPrefix(request, "$aws/")
		}
	}
	root, rest, _ := strings.Cut(rest, "/")
	switch levels := strings.Split(rest, "/"); root {
	case "things":
		return s.ofThing(levels)
	case "certificates":
		return s.ofProvisioning(levels, len(levels) == 2 && (levels[0] == "create" || levels[0] == "create-from-csr"))
	case "provisioning-templates":
		return s.ofProvisioning(levels, len(levels) == 3 && levels[0] != "" && levels[1] == "provision")
	}
	return s, false
}

// ofThing goes on after $aws/things/.
func (s serviceTopic) ofThing(levels []string) (serviceTopic, bool) {
	if len(levels) < 3 || levels[0] == "" {
		return s, false
	}
	s.thing = levels[0]
	switch below := levels[2:]; levels[1] {
	case "shadow":
		s.service = serviceShadow
		return s.ofShadow(below)
	case "jobs":
		s.service = serviceJobs
		return s.ofJobs(below)
	}
	return s, false
}

// ofShadow goes on after shadow/, where a named shadow has two levels more.
func (s serviceTopic) ofShadow(levels []string) (serviceTopic, bool) {
	if len(levels) > 2 && levels[0] == "name" && levels[1] != "" {
		levels = levels[2:]
	}
	s.update = levels[0] == "update"
	switch {
	case len(levels) == 1:
		return s, s.update || levels[0] == "get" || levels[0] == "delete"
	case len(levels) == 2 && s.update && (levels[1] == "delta" || levels[1] == "documents"):
		notice := s.role == roleRequest // nobody answers a notice
		s.role = roleNotice
		return s, notice
	}
	return s, false
}

// ofJobs goes on after jobs/.
func (s serviceTopic) ofJobs(levels []string) (serviceTopic, bool) {
	switch {
	case len(levels) == 1 && (levels[0] == "get" || levels[0] == "start-next"):
		return s, true
	case len(levels) == 1 && (levels[0] == "notify" || levels[0] == "notify-next"):
		notice := s.role == roleRequest
		s.role = roleNotice
		return s, notice
	case len(levels) == 2 && levels[0] != "" && (levels[1] == "get" || levels[1] == "update"):
		return s, true
	}
	return s, false
}

// ofProvisioning ends with the format of the payload.
func (s serviceTopic) ofProvisioning(levels []string, known bool) (serviceTopic, bool) {
	format := levels[len(levels)-1]
	s.service, s.cbor = serviceProvisioning, format == "cbor"
	return s, known && (s.cbor || format == "json")
}

// direct reports whether an answer goes to who asked and does not pass the
// broker, so that it needs no subscription and nobody else can have one (B212).
func (s serviceTopic) direct() bool { return s.service != serviceShadow }
