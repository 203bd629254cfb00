package bridge

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
)

// Problem is something wrong in what a person wrote: where, what, and what to
// do about it. Packages return all of their problems at once; configs adds
// file and line.
type Problem struct {
	Path   string // key path from the root of the owner's Options: "tls.cert", "up[2].topic"
	Text   string // what is wrong, without the path
	Remedy string // what to do, imperative
}

// Size is a number of bytes that people write with a unit: "64MiB", "8GiB",
// "512B". KB, MB and GB are powers of 1000, KiB, MiB and GiB of 1024.
type Size int64

var sizeUnits = []struct {
	name string
	n    int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}}

// UnmarshalText parses a size. A bare number other than 0 is refused: its unit
// would be a guess.
func (s *Size) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	if in == "0" {
		*s = 0
		return nil
	}
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(in, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || v < 0 || v*float64(u.n) > math.MaxInt64/2 {
			break
		}
		*s = Size(v * float64(u.n))
		return nil
	}
	return fmt.Errorf("%q is not a size: write a number and a unit, such as 512B, 64KiB, 256MiB or 8GiB", in)
}

// MarshalText writes the size with the largest unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the size with the largest unit that divides it.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits[:3] {
		if int64(s)%u.n == 0 {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Secret is a string that no log, no error and no "config print" shows.
type Secret string

const masked = "••••"

// String is a mask; convert to string to use the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString is the mask.
func (s Secret) GoString() string { return s.String() }

// LogValue is the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is the mask, so that no encoder shows the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret as it is.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// Warning is a piece of health: shown alike by CLI, console, metrics and $SYS.
type Warning struct {
	Code     string // stable, kebab-case: "spool-nearly-full"
	Severity Severity
	Text     string // one line with the remedy
}

// Severity orders warnings.
type Severity byte

// The severities.
const (
	Notice   Severity = iota // worth knowing
	Degraded                 // works, but not as configured
	Critical                 // does not do its job
)

// String is the severity's name.
func (s Severity) String() string {
	return [...]string{"notice", "degraded", "critical"}[min(s, Critical)]
}
