package lint

import (
	"regexp"
	"slices"
	"strings"
)

// Keys that rules speak of.
const (
	keyClientID   = "iot:ClientId"
	keyThingName  = "iot:Connection.Thing.ThingName"
	keyAttached   = "iot:Connection.Thing.IsAttached"
	keyAttributes = "iot:ConnectAttributes"
	keyWillTopic  = "iot:LastWillTopic"
	keySourceIP   = "aws:SourceIp"
)

var plainKeys = []string{
	keyClientID, keySourceIP, "iot:DomainName", keyThingName, "iot:Connection.Thing.ThingTypeName", keyAttached,
	"iot:CertificateId", "iot:Certificate.SerialNumber", "iot:Certificate.AvailableKeys",
	"aws:SourceVpc", "aws:SourceVpce", "aws:VpcSourceIp", keyAttributes, keyWillTopic, "iot:Topic",
	"aws:CurrentTime", "aws:EpochTime",
}

// conditionOnly are keys that no resource can name.
var conditionOnly = []string{keyAttributes, keyWillTopic, "iot:Topic"}

const nameParts = `DistinguishedNameQualifier|Country|Organization|OrganizationalUnit|State|CommonName|SerialNumber|Title|Surname|GivenName|Initials|Pseudonym|GenerationQualifier|AlternativeName\.(RFC822Name|DNSName|DirectoryName|UniformResourceIdentifier|IPAddress)`

var (
	certificateKey = regexp.MustCompile(`(?i)^iot:Certificate\.(Subject|Issuer)\.(` + nameParts + `)(\.(List|[0-4]))?$`)
	attributeKey   = regexp.MustCompile(`(?i)^iot:Connection\.Thing\.Attributes\[[^\[\]]+\]$`)
	listKey        = regexp.MustCompile(`(?i)\.List$`)
)

// knownKey reports whether a key or variable exists.
func knownKey(name string) bool {
	return slices.ContainsFunc(plainKeys, func(k string) bool { return strings.EqualFold(k, name) }) ||
		certificateKey.MatchString(name) || attributeKey.MatchString(name)
}

// multiValued reports whether a key can have several values.
func multiValued(name string) bool {
	return strings.EqualFold(name, keyAttributes) || strings.EqualFold(name, "iot:Certificate.AvailableKeys") || listKey.MatchString(name)
}

// always reports whether each request has the key.
func always(name string) bool {
	return slices.ContainsFunc([]string{keySourceIP, "aws:CurrentTime", "aws:EpochTime"}, func(k string) bool { return strings.EqualFold(k, name) })
}

// optional reports whether a variable may have no value on an MQTT connection
// with a certificate.
func optional(name string) bool {
	lower := strings.ToLower(name)
	for _, k := range []string{keyClientID, keyAttached, "iot:CertificateId", "iot:Certificate.SerialNumber"} {
		if lower == strings.ToLower(k) {
			return false
		}
	}
	return !always(name)
}

// ofThing reports whether a variable or key is known only of a client whose
// thing was found.
func ofThing(name string) bool {
	return strings.HasPrefix(strings.ToLower(name), "iot:connection.thing.") && !strings.EqualFold(name, keyAttached)
}

// keySlips are names that people write for a key, in lower case.
var keySlips = map[string]string{
	"iot:thing.thingname": keyThingName, "iot:thingname": keyThingName, "iot:connection.thingname": keyThingName, "aws:thingname": keyThingName,
	"iot:thing.thingtypename": "iot:Connection.Thing.ThingTypeName", "iot:connection.thing.thingtype": "iot:Connection.Thing.ThingTypeName",
	"iot:thing.isattached": keyAttached, "iot:connection.isattached": keyAttached, "iot:isattached": keyAttached,
	"iot:sourceip": keySourceIP, "iot:topicfilter": "", "iot:client": keyClientID, "iot:clientname": keyClientID,
	"aws:clientid": keyClientID, "iot:connection.clientid": keyClientID, "iot:certificate.id": "iot:CertificateId", "iot:certificate.certificateid": "iot:CertificateId",
	"iot:certificate.commonname": "iot:Certificate.Subject.CommonName", "iot:connectattribute": keyAttributes, "iot:willtopic": keyWillTopic,
	"iot:lastwill": keyWillTopic, "iot:domain": "iot:DomainName", "credentials-iot:thingname": keyThingName, "iot:attributes": "iot:Connection.Thing.Attributes[name]",
}

// keyRemedy names the key that was probably meant.
func keyRemedy(name string) string {
	lower := strings.ToLower(name)
	if meant, ok := keySlips[lower]; ok && meant != "" {
		return "write " + meant
	}
	if strings.HasPrefix(lower, "iot:thing.attributes[") || strings.HasPrefix(lower, "iot:connection.attributes[") {
		return "write iot:Connection.Thing.Attributes" + name[strings.Index(name, "["):]
	}
	best, distance := "", 4
	for _, k := range plainKeys {
		if d := edits(lower, strings.ToLower(k), distance); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return "write " + best
	}
	return "write a key of docs/policy.md, such as " + keyClientID + ", " + keyThingName + " or " + keySourceIP
}

// edits is how many letters have to change to make one text of another, at
// most limit.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return min(row[len(b)], limit)
}
