package configs

import (
	"encoding"
	"errors"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// scalarFault is why a text is not a value of its type.
type scalarFault struct{ code, text, remedy string }

// setScalar parses text as the type of v says.
func setScalar(v reflect.Value, text string) *scalarFault {
	switch {
	case v.Type() == durationType:
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	case v.Addr().Type().Implements(textType):
		return setText(v, text)
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return &scalarFault{codeBoolean, "is neither true nor false", "write true or false"}
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return &scalarFault{codeInteger, "is not a whole number", "write digits without a unit"}
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return &scalarFault{codeInteger, "is not a whole number from 0 on", "write digits without a sign or unit"}
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return &scalarFault{codeNumber, "is not a number", "write digits, with a point if need be"}
		}
		v.SetFloat(f)
	}
	return nil
}

func setText(v reflect.Value, text string) *scalarFault {
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	switch {
	case err == nil:
		return nil
	case v.Type() != sizeType:
		return &scalarFault{codeValue, "is refused: " + err.Error(), "write it as the documentation says"}
	case bareNumber.MatchString(text):
		return &scalarFault{codeSize, "has no unit", "write " + text + "B for bytes, or KiB, MiB or GiB"}
	default:
		return &scalarFault{codeSize, "is not a size", "write a number and a unit, such as 512B, 64KiB, 256MiB or 8GiB"}
	}
}

var (
	bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	days       = regexp.MustCompile(`^([0-9]{1,5})d(.*)$`)
)

// parseDuration reads Go's durations, and days before them: "7d", "1d12h".
func parseDuration(text string) (time.Duration, *scalarFault) {
	text = strings.TrimSpace(text)
	if text == "0" {
		return 0, nil
	}
	if bareNumber.MatchString(text) {
		return 0, &scalarFault{codeDuration, "has no unit", "write " + text + "s for seconds, or ms, m, h or d"}
	}
	var whole time.Duration
	rest := text
	if m := days.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		whole, rest = time.Duration(n)*24*time.Hour, m[2]
	}
	part, err := time.Duration(0), error(nil)
	if rest != "" || rest == text {
		part, err = time.ParseDuration(rest)
	}
	if whole > 0 && (part < 0 || part > math.MaxInt64-whole) {
		err = errors.New("out of range")
	}
	if err != nil {
		return 0, &scalarFault{codeDuration, "is not a duration", "write a number and a unit, such as 500ms, 30s, 2h or 7d"}
	}
	return whole + part, nil
}

// formatDuration writes a duration as people do: 168h, not 168h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}
