package billing

import (
	"strconv"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// What a run has on its way when it is killed is metered by the next one, whose
// configuration may be another. So a run writes down how it is reached and metered, before
// it sends anything (bridge.Billed).

// The words of how. An upstream over MQTT 5 that has the options by default has none.
const (
	howMQTT3    = "3.1.1"
	howHTTP     = "https"
	howDefender = "defender-free"
	howUnit     = "unit="
)

// how says what of the options units depend on.
func (o *Options) how() string {
	var words []string
	if o.MQTT3 {
		words = append(words, howMQTT3)
	}
	if o.HTTP {
		words = append(words, howHTTP)
	}
	if o.Defender == DefenderFree {
		words = append(words, howDefender)
	}
	if unit := int64(o.Unit); unit != DefaultUnit {
		words = append(words, howUnit+strconv.FormatInt(unit, 10))
	}
	return strings.Join(words, ",")
}

// howWas are the options that how has said. ok is false for what nobody has said, or what
// another version did.
func howWas(how string) (o Options, ok bool) {
	o, ok = DefaultOptions(), true
	for word := range strings.SplitSeq(how, ",") {
		switch size, isUnit := strings.CutPrefix(word, howUnit); {
		case word == howMQTT3:
			o.MQTT3 = true
		case word == howHTTP:
			o.HTTP = true
		case word == howDefender:
			o.Defender = DefenderFree
		case isUnit:
			unit, err := strconv.ParseInt(size, 10, 64)
			if err != nil || unit < 1 {
				return DefaultOptions(), false
			}
			o.Unit = bridge.Size(unit)
		default:
			ok = false
		}
	}
	return o, ok
}

// uncertain is what a message costs that may have been taken. Of a request over HTTP the
// answer may have had a body, of less than a unit (M18).
func (o *Options) uncertain(out *bridge.Message, how bridge.Outcome) int64 {
	if how.HTTP = how.HTTP || o.HTTP; how.HTTP {
		how.Body = 1
	}
	return o.publish(out, o.size(out, how), how, int64(o.Unit)) + answered(how, int64(o.Unit))
}

// before is what a message costs that an earlier run may have sent: as it has said, or else
// the most of by default and as it is now.
func (o *Options) before(out *bridge.Message, how bridge.Outcome) int64 {
	was, ok := howWas(how.Before.How)
	units := was.uncertain(out, how)
	if !ok {
		units = max(units, o.uncertain(out, how))
	}
	return units
}

// at is how an upstream bills in another place.
func (o *billed) at(upstream string, number int) *billed {
	return &billed{Options: o.Options, series: placed(upstream, min(max(number, 0), maxPlaces)), place: number}
}
