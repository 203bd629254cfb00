package billing

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		topic  string
		levels int
		want   string
	}{
		{"dt/line/temp", 1, "dt"},
		{"dt/line/temp", 2, "dt/line"},
		{"dt/line/temp", 3, "dt/line/temp"},
		{"dt/line/temp", 8, "dt/line/temp"},
		{"dt", 2, "dt"},
		{"", 2, ""},
		{"/a/b", 2, "/a"},
		{"dt//x", 2, "dt/"},
		{"$aws/rules/store/dt/line/x", 2, "$aws/rules/store/dt"},
		{strings.Repeat("é", 40), 1, strings.Repeat("é", 32)},
	} {
		if got := prefixOf(c.topic, c.levels); got != c.want {
			t.Errorf("%q at %d levels: %q, want %q", c.topic, c.levels, got, c.want)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add("aws", "pump-1", "pump-1", "dt/line/temp", int64(1_795_000_000), true, 2)
	f.Add("", "", "", "", int64(0), false, 1)
	f.Add("a\x00b", "\x00", "=", "\x00/\x00", int64(-1), false, 8)
	f.Fuzz(func(t *testing.T, upstream, device, thing, topic string, unix int64, synced bool, levels int) {
		if strings.Contains(upstream, sep) {
			t.Skip("not a name that configs allows")
		}
		if thing == sameName {
			t.Skip("AWS's names of things have no such character")
		}
		in := series{upstream, Up, bound(device, maxDeviceName), prefixOf(topic, levels%9), "telemetry", bound(thing, maxThingName)}
		hour := hourOf(time.Unix(unix, 0), synced)
		gotHour, got, kind, ok := parseKey(in.key(hour) + string(kindUnits))
		if !ok || got != in || gotHour != hour || kind != kindUnits {
			t.Fatalf("%q %+v came back as %q %+v (%v)", hour, in, gotHour, got, ok)
		}
		if utf8.ValidString(topic) && !utf8.ValidString(in.prefix) {
			t.Fatalf("prefix %q cut inside a rune", in.prefix)
		}
		start, gotSynced, ok := parseHour(hour)
		if !ok || (!start.IsZero() && (gotSynced != synced || !start.Equal(time.Unix(unix, 0).UTC().Truncate(time.Hour)))) {
			t.Fatalf("%q read as %s, %v, %v", hour, start, gotSynced, ok)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("2026112013\x00aws\x00up\x00pump\x00dt\x00u")
	f.Add("2026112013\x00aws\x00up\x00pump\x00dt\x00telemetry\x00=\x00u")
	f.Add("~\x00\x00\x00\x00\x00")
	f.Fuzz(func(_ *testing.T, key string) {
		hour, _, _, _ := parseKey(key)
		_, _, _ = parseHour(hour)
		_ = folded(hour, time.Unix(1_795_000_000, 0))
	})
}

func TestRegionOf(t *testing.T) {
	for endpoint, want := range map[string]string{
		"mqtts://abc-ats.iot.eu-central-1.amazonaws.com:8883":  "eu-central-1",
		"mqtts://abc-ats.iot.cn-north-1.amazonaws.com.cn:8883": "cn-north-1",
		"mqtts://abc.iot-fips.us-gov-west-1.amazonaws.com":     "us-gov-west-1",
		"mqtts://abc-ats.iot.eu-west-1.api.aws:8883":           "eu-west-1",
		"mqtts://broker.example.com:8883":                      "",
		"mqtts://a.iot.example.com":                            "",
		"":                                                     "",
	} {
		if got := RegionOf(endpoint); got != want {
			t.Errorf("%q: %q, want %q", endpoint, got, want)
		}
	}
}

func TestValidateReturnsEveryProblem(t *testing.T) {
	if p := DefaultOptions().Validate(); len(p) != 0 {
		t.Errorf("the defaults are refused: %v", p)
	}
	bad := Options{Region: "mars-north-1", Unit: bridge.Size(2 << 20)}
	paths := map[string]bool{}
	for _, p := range bad.Validate() {
		paths[p.Path] = true
		if p.Text == "" || p.Remedy == "" {
			t.Errorf("%+v lacks words", p)
		}
	}
	for _, want := range []string{"region", "unit", "prefix_levels", "max_devices", "max_prefixes"} {
		if !paths[want] {
			t.Errorf("no problem for %s", want)
		}
	}
}
