package policy

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strings"
)

// nameWords are AWS's words for the attributes of a distinguished name.
var nameWords = map[string]string{
	"2.5.4.46": "DistinguishedNameQualifier",
	"2.5.4.6":  "Country",
	"2.5.4.10": "Organization",
	"2.5.4.11": "OrganizationalUnit",
	"2.5.4.8":  "State",
	"2.5.4.3":  "CommonName",
	"2.5.4.5":  "SerialNumber",
	"2.5.4.12": "Title",
	"2.5.4.4":  "Surname",
	"2.5.4.42": "GivenName",
	"2.5.4.43": "Initials",
	"2.5.4.65": "Pseudonym",
	"2.5.4.44": "GenerationQualifier",
}

// certificateName reports whether policies can ask about a name.
func certificateName(name string) bool {
	switch strings.TrimPrefix(name, "AlternativeName.") {
	case "RFC822Name", "DNSName", "DirectoryName", "UniformResourceIdentifier", "IPAddress":
		return strings.HasPrefix(name, "AlternativeName.")
	}
	for _, word := range nameWords {
		if name == word {
			return true
		}
	}
	return false
}

// factsOf reads from a certificate what policies can ask about. The serial
// number is in upper-case hex, two digits a byte.
func factsOf(cert *x509.Certificate, id string) *certificateFacts {
	c := &certificateFacts{id: id, subject: names(cert.Subject), issuer: names(cert.Issuer)}
	if cert.SerialNumber != nil {
		c.serial = fmt.Sprintf("%X", cert.SerialNumber.Bytes())
	}
	for _, extension := range cert.Extensions {
		switch extension.Id.String() {
		case "2.5.29.17":
			alternativeNames(extension.Value, c.subject)
		case "2.5.29.18":
			alternativeNames(extension.Value, c.issuer)
		}
	}
	return c
}

func names(name pkix.Name) map[string][]string {
	out := map[string][]string{}
	for _, attribute := range name.Names {
		word, known := nameWords[attribute.Type.String()]
		if text, ok := attribute.Value.(string); ok && known {
			out[word] = append(out[word], text)
		}
	}
	return out
}

// alternativeNames reads GeneralNames (RFC 5280, 4.2.1.6) into out. What is
// damaged or of another form is left out.
func alternativeNames(der []byte, out map[string][]string) {
	var list []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		return
	}
	add := func(word, text string) {
		key := "AlternativeName." + word
		out[key] = append(out[key], text)
	}
	for _, name := range list {
		switch name.Tag {
		case 1:
			add("RFC822Name", string(name.Bytes))
		case 2:
			add("DNSName", string(name.Bytes))
		case 4:
			var sequence pkix.RDNSequence
			if _, err := asn1.Unmarshal(name.Bytes, &sequence); err == nil {
				add("DirectoryName", sequence.String())
			}
		case 6:
			add("UniformResourceIdentifier", string(name.Bytes))
		case 7:
			if addr, ok := netip.AddrFromSlice(name.Bytes); ok {
				add("IPAddress", addr.String())
			}
		}
	}
	for key, texts := range out {
		for i, text := range texts {
			texts[i] = strings.ToValidUTF8(text, "\uFFFD")
		}
		out[key] = texts
	}
}
