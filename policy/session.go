package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// session is what the rules know about a principal while it is connected, in
// the words of input.context.
type session struct {
	clientID string
	http     bool // HTTP has neither a client id nor a thing

	thing     string
	thingType string
	attribute map[string]string
	attached  bool // the thing is attached to the certificate
	exclusive bool // and the certificate to no other thing

	certificate *certificateFacts

	sourceIP    string
	domain      string
	vpc         string
	vpce        string
	vpcSourceIP string
}

// certificateFacts are the names in a certificate by AWS's words for them:
// "CommonName", "AlternativeName.DNSName".
type certificateFacts struct {
	id      string
	serial  string
	subject map[string][]string
	issuer  map[string][]string
}

// project leaves out what the documents do not ask for.
func (s session) project(u uses) session {
	out := session{http: s.http}
	if u.client || u.thing {
		out.clientID = s.clientID
	}
	if u.thing {
		out.thing, out.thingType, out.attribute = s.thing, s.thingType, s.attribute
		out.attached, out.exclusive = s.attached, s.exclusive
	}
	if u.certificate {
		out.certificate = s.certificate
	}
	if u.address {
		out.sourceIP = s.sourceIP
	}
	if u.endpoint {
		out.domain, out.vpc, out.vpce, out.vpcSourceIP = s.domain, s.vpc, s.vpce, s.vpcSourceIP
	}
	return out
}

// context is input.context of the rules. What is absent is left out.
func (s session) context() map[string]any {
	out := map[string]any{"client_id": s.clientID}
	put := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	if s.http {
		out["protocol"] = "http"
	}
	put("thing_name", s.thing)
	put("thing_type", s.thingType)
	put("source_ip", s.sourceIP)
	put("domain_name", s.domain)
	put("source_vpc", s.vpc)
	put("source_vpce", s.vpce)
	put("vpc_source_ip", s.vpcSourceIP)
	if s.thing != "" {
		out["thing_attached"], out["thing_exclusive"] = s.attached, s.exclusive
		attributes := map[string]any{}
		for name, value := range s.attribute {
			attributes[name] = value
		}
		out["thing_attributes"] = attributes
	}
	if c := s.certificate; c != nil {
		certificate := map[string]any{"subject": lists(c.subject), "issuer": lists(c.issuer)}
		if c.id != "" {
			certificate["id"] = c.id
		}
		if c.serial != "" {
			certificate["serial"] = c.serial
		}
		out["certificate"] = certificate
	}
	return out
}

func lists(in map[string][]string) map[string]any {
	out := map[string]any{}
	for name, values := range in {
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		out[name] = list
	}
	return out
}

// key is the same for sessions that are the same.
func (s session) key() string {
	var b strings.Builder
	add := func(text string) {
		b.WriteString(strconv.Itoa(len(text)))
		b.WriteByte(':')
		b.WriteString(text)
	}
	for _, text := range []string{s.clientID, s.thing, s.thingType, s.sourceIP, s.domain, s.vpc, s.vpce, s.vpcSourceIP} {
		add(text)
	}
	for _, flag := range []bool{s.http, s.attached, s.exclusive} {
		add(strconv.FormatBool(flag))
	}
	for _, name := range slices.Sorted(maps.Keys(s.attribute)) {
		add(name)
		add(s.attribute[name])
	}
	if s.certificate != nil {
		add("certificate " + s.certificate.id) // the id is a hash of all the rest
	}
	return b.String()
}
