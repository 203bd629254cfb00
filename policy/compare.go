package policy

import (
	"cmp"
	"encoding/base64"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// relates decides a relation by the outcome of a comparison.
func (t test) relates(order int) bool {
	switch t.relation() {
	case lessThan:
		return order < 0
	case lessThanEquals:
		return order <= 0
	case greaterThan:
		return order > 0
	case greaterThanEquals:
		return order >= 0
	default:
		return order == 0
	}
}

// number reads a decimal of up to 15 characters: different decimals of that
// length stay different as a float64.
func number(text string) (float64, bool) {
	digits := strings.TrimPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if len(digits) > 15 || !allDigits(whole) || point && !allDigits(fraction) {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// moment is an instant to the nanosecond; nanoseconds alone would end in 2262.
type moment struct {
	seconds int64 // since 1970
	nanos   int
}

func momentOf(t time.Time) moment { return moment{t.Unix(), t.Nanosecond()} }

func (m moment) compare(o moment) int {
	return cmp.Or(cmp.Compare(m.seconds, o.seconds), cmp.Compare(m.nanos, o.nanos))
}

// dateForms are the W3C forms of ISO 8601 that are taken, but for the bare year;
// time.Parse alone takes more.
var dateForms = []struct {
	text   *regexp.Regexp
	layout string
}{
	{regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`), time.RFC3339Nano},
	{regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d(Z|[+-]\d\d:\d\d)$`), "2006-01-02T15:04Z07:00"},
	{regexp.MustCompile(`^\d{4}-\d\d-\d\d$`), time.DateOnly},
	{regexp.MustCompile(`^\d{4}-\d\d$`), "2006-01"},
}

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

// instant reads a date, a month, a time with its zone, or seconds since 1970.
func instant(text string) (moment, bool) {
	if len(text) <= 12 && allDigits(text) && text[0] != '0' {
		seconds, err := strconv.ParseInt(text, 10, 64)
		return moment{seconds: seconds}, err == nil && seconds <= lastSecond
	}
	for _, form := range dateForms {
		if !form.text.MatchString(text) {
			continue
		}
		t, err := time.Parse(form.layout, text)
		return momentOf(t), err == nil
	}
	return moment{}, false
}

// network reads an address or a CIDR block.
func network(text string) (netip.Prefix, bool) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Is4In6() || addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil && !p.Addr().Is4In6()
}

// operand is one value of a condition, read once.
type operand struct {
	text    string
	glob    glob
	arn     arnPattern
	number  float64
	instant moment
	network netip.Prefix
}

// compare decides whether a value that a request brings fits an operand.
func (t test) compare(have fact, want *operand) bool {
	switch t.kind() {
	case stringEquals:
		return have.text == want.text
	case stringEqualsIgnoreCase:
		return strings.ToLower(have.text) == strings.ToLower(want.text)
	case stringLike:
		return want.glob.match(have.text)
	case arnLike:
		return want.arn.match(have.text, want.glob)
	case boolean:
		return strings.ToLower(have.text) == strings.ToLower(want.text)
	case binaryEquals:
		a, errA := base64.StdEncoding.DecodeString(have.text)
		b, errB := base64.StdEncoding.DecodeString(want.text)
		return errA == nil && errB == nil && string(a) == string(b)
	case ipAddress:
		addr, err := netip.ParseAddr(have.text)
		return err == nil && want.network.Contains(addr.Unmap())
	case numeric:
		n, ok := number(have.text)
		return ok && t.relates(cmp.Compare(n, want.number))
	case date:
		at, ok := have.time()
		return ok && t.relates(at.compare(want.instant))
	}
	return false
}
