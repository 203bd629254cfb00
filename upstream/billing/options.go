package billing

import (
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options say how one upstream bills.
type Options struct {
	Region       string      `koanf:"region" doc:"Region of the price list, such as eu-central-1; empty: read it from an AWS endpoint, and count without prices elsewhere."`
	Unit         bridge.Size `koanf:"unit" doc:"Size of one metered message, 1B to 1MiB; AWS's 5 KB are 5120B."`
	FreeTier     bool        `koanf:"free_tier" doc:"Take AWS's monthly free tier off the bill; only the first 12 months of an account have it."`
	PrefixLevels int         `koanf:"prefix_levels" doc:"Topic levels by which the ledger tells messages apart, 1 to 8."`
	MaxDevices   int         `koanf:"max_devices" doc:"Devices told apart per hour, 1 to 100000; further ones are counted together as (other)."`
	MaxPrefixes  int         `koanf:"max_prefixes" doc:"Topic prefixes told apart per device and hour, 1 to 1000; further ones are counted together as (other)."`
	PriceList    string      `koanf:"price_list" doc:"File with prices in the form of the built-in list, to replace it; empty: the built-in one."`
}

// DefaultOptions are AWS's unit, and a ledger of some 16 MB a month for 100
// devices with two prefixes: 100 × 2 series × 3 counters × 720 hours × 40 B.
func DefaultOptions() Options {
	return Options{Unit: DefaultUnit, PrefixLevels: 2, MaxDevices: 1000, MaxPrefixes: 20}
}

// Validate lists everything that is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	var out []bridge.Problem
	between := func(path string, v, low, high int64) {
		if v < low || v > high {
			out = append(out, bridge.Problem{
				Path: path, Text: fmt.Sprintf("%d is out of range", v), Remedy: fmt.Sprintf("set it between %d and %d", low, high),
			})
		}
	}
	between("unit", int64(o.Unit), 1, 1<<20)
	between("prefix_levels", int64(o.PrefixLevels), 1, 8)
	between("max_devices", int64(o.MaxDevices), 1, 100_000)
	between("max_prefixes", int64(o.MaxPrefixes), 1, 1000)
	if o.Region != "" && o.PriceList == "" {
		if _, ok := BuiltIn().Regions[o.Region]; !ok {
			out = append(out, bridge.Problem{
				Path: "region", Text: fmt.Sprintf("no prices for region %q", o.Region),
				Remedy: "use one of " + strings.Join(BuiltIn().names(), ", ") + ", leave it empty to count without prices, or give a price_list that has it",
			})
		}
	}
	return out
}

// RegionOf reads the region out of an AWS IoT Core endpoint, such as
// "mqtts://x-ats.iot.eu-central-1.amazonaws.com:8883"; empty when it is none.
func RegionOf(endpoint string) string {
	_, rest, _ := strings.Cut(endpoint, ".iot.")
	region, domain, _ := strings.Cut(rest, ".")
	if strings.HasPrefix(domain, "amazonaws.com") {
		return region
	}
	return ""
}
