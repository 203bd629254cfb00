package policy

import (
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"
)

// Context is what is known about a principal and its connection, in the words
// of test cases.
type Context struct {
	ClientID        string              `json:"client_id,omitempty"`
	ThingName       string              `json:"thing_name,omitempty"`
	ThingAttached   bool                `json:"thing_attached,omitempty"`  // to the certificate
	ThingExclusive  bool                `json:"thing_exclusive,omitempty"` // and the certificate to no other
	ThingType       string              `json:"thing_type,omitempty"`
	ThingAttributes map[string]string   `json:"thing_attributes,omitempty"`
	Certificate     *CertificateContext `json:"certificate,omitempty"`
	SourceIP        string              `json:"source_ip,omitempty"`
	SourceVPC       string              `json:"source_vpc,omitempty"`
	SourceVPCE      string              `json:"source_vpce,omitempty"`
	VPCSourceIP     string              `json:"vpc_source_ip,omitempty"`
	DomainName      string              `json:"domain_name,omitempty"`
	CurrentTime     string              `json:"current_time,omitempty"` // RFC 3339
	Protocol        string              `json:"protocol,omitempty"`     // "http", or "mqtt" and empty

	// What only the operator's own rules ask about.
	User        string   `json:"user,omitempty"` // empty: the certificate's id
	Listener    string   `json:"listener,omitempty"`
	ThingGroups []string `json:"thing_groups,omitempty"`
}

// CertificateContext is what policies can ask about a certificate, by AWS's
// words: "CommonName", "AlternativeName.DNSName".
type CertificateContext struct {
	ID      string              `json:"id,omitempty"`
	Serial  string              `json:"serial,omitempty"`
	Subject map[string][]string `json:"subject,omitempty"`
	Issuer  map[string][]string `json:"issuer,omitempty"`
}

func (c Context) session() (session, error) {
	s := session{
		clientID: c.ClientID, thing: c.ThingName, thingType: c.ThingType, attribute: c.ThingAttributes,
		attached: c.ThingAttached, exclusive: c.ThingExclusive,
		sourceIP: c.SourceIP, domain: c.DomainName, vpc: c.SourceVPC, vpce: c.SourceVPCE, vpcSourceIP: c.VPCSourceIP,
	}
	switch c.Protocol {
	case "http":
		s.http = true
	case "", "mqtt":
	default:
		return s, fmt.Errorf("protocol %q is not known; write \"http\" or leave it out", shorten(c.Protocol))
	}
	if c.SourceIP != "" {
		addr, err := netip.ParseAddr(c.SourceIP)
		if err != nil {
			return s, fmt.Errorf("source_ip %q is no address; write one such as 10.1.2.3", shorten(c.SourceIP))
		}
		s.sourceIP = addressText(addr)
	}
	if !c.valid() {
		return s, errName
	}
	if cert := c.Certificate; cert != nil {
		for side, names := range map[string]map[string][]string{"subject": cert.Subject, "issuer": cert.Issuer} {
			for name := range names {
				if !certificateName(name) {
					return s, fmt.Errorf("certificate.%s has %q, which is no name of AWS's; write one of docs/policy.md, such as CommonName", side, shorten(name))
				}
			}
		}
		s.certificate = &certificateFacts{cert.ID, cert.Serial, cert.Subject, cert.Issuer}
	}
	return s, nil
}

// InGroups reports whether the policies of the thing's groups apply: the client
// is named like the thing, the thing is attached, and there is a client id.
func (c Context) InGroups() bool {
	return c.Protocol != "http" && c.ThingAttached && c.ThingName != "" && c.ThingName == c.ClientID
}

// valid reports whether all texts are UTF-8: the rules know no others.
func (c Context) valid() bool {
	texts := append([]string{c.User, c.Listener}, c.ThingGroups...)
	texts = append(texts, c.ClientID, c.ThingName, c.ThingType, c.SourceVPC, c.SourceVPCE, c.VPCSourceIP, c.DomainName)
	for name, value := range c.ThingAttributes {
		texts = append(texts, name, value)
	}
	if cert := c.Certificate; cert != nil {
		texts = append(texts, cert.ID, cert.Serial)
		for _, names := range []map[string][]string{cert.Subject, cert.Issuer} {
			for name, values := range names {
				texts = append(append(texts, name), values...)
			}
		}
	}
	return validText(texts...)
}

func validText(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// clock is the time that the context names, or now.
func (c Context) clock(now func() time.Time) (func() time.Time, error) {
	at := now()
	if c.CurrentTime != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, c.CurrentTime); err != nil {
			return nil, fmt.Errorf("current_time %q is no time; write one such as 2026-06-01T12:00:00Z", shorten(c.CurrentTime))
		}
	}
	return func() time.Time { return at }, nil
}
