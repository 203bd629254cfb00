package policy

import (
	"testing"
	"time"
)

// TestConditions compares conditions with a CONNECT that wants a persistent
// session and a will on "w", from 10.1.2.3, at noon of 1 June 2027.
func TestConditions(t *testing.T) {
	r := &request{attributes: connectAttributes[3], hasWill: true, willTopic: "w", source: "10.1.2.3", clock: at(fixed)}
	bare := &request{clock: at(fixed)}
	will := "arn:aws:iot:us-east-1:123456789012:topic/"
	for _, c := range []struct {
		operator, key string
		values        []string
		want, absent  bool // absent: with neither attributes, will nor address
	}{
		{"StringEquals", "iot:ConnectAttributes", []string{"LastWill"}, true, false},
		{"StringNotEquals", "iot:ConnectAttributes", []string{"LastWill"}, true, true},
		{"StringNotEquals", "iot:ConnectAttributes", []string{"LastWill", "PersistentConnect"}, false, true},
		{"ForAllValues:StringEquals", "iot:ConnectAttributes", []string{"LastWill"}, false, true},
		{"ForAllValues:StringLike", "iot:ConnectAttributes", []string{"*t*"}, true, true},
		{"ForAnyValue:StringEqualsIgnoreCase", "iot:connectattributes", []string{"lastwill"}, true, false},
		{"ForAnyValue:StringNotEquals", "iot:ConnectAttributes", []string{"LastWill"}, true, false},
		{"ForAnyValue:StringNotEqualsIfExists", "iot:ConnectAttributes", []string{"LastWill"}, true, true},
		{"Null", "iot:ConnectAttributes", []string{"true"}, false, true},
		{"Null", "iot:ConnectAttributes", []string{"False"}, true, false},
		{"ArnEquals", "iot:LastWillTopic", []string{will + "*"}, true, false},
		{"ArnLike", "iot:LastWillTopic", []string{"arn:aws:iot:*:topic/w"}, false, false},
		{"ArnNotLike", "iot:LastWillTopic", []string{will + "x"}, true, true},
		{"StringEquals", "iot:LastWillTopic", []string{will + "w"}, true, false},
		{"StringEquals", "iot:LastWillTopic", []string{will + "${iot:ClientId}"}, false, false},
		{"IpAddress", "aws:SourceIp", []string{"10.0.0.0/8"}, true, false},
		{"NotIpAddress", "aws:SourceIp", []string{"10.0.0.0/8", "::/0"}, false, true},
		{"IpAddress", "aws:SourceIp", []string{"::/0"}, false, false},
		{"BinaryEquals", "iot:ConnectAttributes", []string{"TGFzdFdpbGw="}, false, false},
		{"DateLessThan", "aws:CurrentTime", []string{"2027-06-01T12:00:00Z"}, false, false},
		{"DateLessThanEquals", "aws:CurrentTime", []string{"2027-06-01T12:00Z"}, true, true},
		{"DateGreaterThan", "aws:CurrentTime", []string{"2027-06-01"}, true, true},
		{"DateGreaterThanEquals", "aws:CurrentTime", []string{"2027-06-01T12:00:01Z"}, false, false},
		{"DateEquals", "aws:EpochTime", []string{"1811851200"}, true, true},
		{"NumericEquals", "aws:EpochTime", []string{"1811851200.0"}, true, true},
		{"NumericNotEquals", "aws:EpochTime", []string{"1811851200"}, false, false},
		{"NumericLessThanEquals", "aws:EpochTime", []string{"1811851200"}, true, true},
		{"NumericGreaterThanEquals", "aws:EpochTime", []string{"1811851200"}, true, true},
		{"NumericGreaterThan", "aws:EpochTime", []string{"1811851200"}, false, false},
		{"NumericLessThan", "aws:EpochTime", []string{"1811851201"}, true, true},
		{"NumericEquals", "aws:CurrentTime", []string{"1"}, false, false},
		{"Bool", "aws:CurrentTime", []string{"true"}, false, false},
	} {
		o, ok := parseOperator(c.operator)
		if !ok {
			t.Fatal(c.operator)
		}
		for _, g := range []gateway{corpusGateway, {}} {
			check := newCheck(&condition{operator: o, name: c.key, values: c.values, version: version2012}, g, nil)
			if got := check.holds(r, g); got != c.want {
				t.Errorf("%s %s %v: %v", c.operator, c.key, c.values, got)
			}
			if got := check.holds(bare, g); got != c.absent {
				t.Errorf("%s %s %v without any: %v", c.operator, c.key, c.values, got)
			}
		}
	}
}

// IPv4 in the clothes of IPv6 is IPv4.
func TestMappedAddress(t *testing.T) {
	o, _ := parseOperator("IpAddress")
	check := newCheck(&condition{operator: o, name: "aws:SourceIp", values: []string{"10.0.0.0/8"}}, corpusGateway, nil)
	if !check.holds(&request{source: "::ffff:10.1.2.3"}, corpusGateway) {
		t.Error("::ffff:10.1.2.3 is not in 10.0.0.0/8")
	}
}

// TestInstant reads dates in the W3C forms, up to 9999-12-31, which people write
// for "never". A bare year is seconds.
func TestInstant(t *testing.T) {
	for text, want := range map[string]string{
		"2027-06-01":                     "2027-06-01T00:00:00Z",
		"2027-06":                        "2027-06-01T00:00:00Z",
		"2027-06-01T12:00+02:00":         "2027-06-01T10:00:00Z",
		"2027-06-01T12:00:00.000000001Z": "2027-06-01T12:00:00.000000001Z",
		"1811851200":                     "2027-06-01T12:00:00Z",
		"2027":                           "1970-01-01T00:33:47Z",
		"9999-12-31":                     "9999-12-31T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z": "9999-12-31T23:59:59.999999999Z",
		"0000-02-29":                     "0000-02-29T00:00:00Z",
		"1600-02-29T00:00:00.5Z":         "1600-02-29T00:00:00.5Z",
		"9999999999":                     "2286-11-20T17:46:39Z",
		"253402300799":                   "9999-12-31T23:59:59Z",
		"253402300800":                   "",
		"2027-06-01 12:00:00Z":           "",
		"2027-06-01T12:00:00":            "",
		"2027-13-01":                     "",
		"1900-02-29":                     "",
		"10000-01-01":                    "",
		"2027-6":                         "",
		"":                               "",
	} {
		at, ok := instant(text)
		if ok != (want != "") || ok && time.Unix(at.seconds, int64(at.nanos)).UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v %v", text, at, ok)
		}
	}
}

// TestInstantsAreOrdered: far ones, too, to the nanosecond.
func TestInstantsAreOrdered(t *testing.T) {
	sorted := []string{"0000-01-01", "0001-01-01", "1969-12-31T23:59:59.999999999Z", "1970-01-01", "1970-01-01T00:00:00.000000001Z", "2262-04-12", "9999-12-31", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000001Z", "9999-12-31T23:59-00:01"}
	for i := 1; i < len(sorted); i++ {
		a, okA := instant(sorted[i-1])
		b, okB := instant(sorted[i])
		if !okA || !okB || a.compare(b) >= 0 || b.compare(a) <= 0 || b.compare(b) != 0 {
			t.Errorf("%s is not before %s", sorted[i-1], sorted[i])
		}
	}
}
