package billing

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// The values of Options.Defender.
const (
	DefenderMessages = "messages"
	DefenderFree     = "free"
)

// The values of Options.Past.
const (
	PastKept  = "kept"
	PastAsNow = "as_now"
)

// Options say how one upstream bills.
type Options struct {
	Region       string      `koanf:"region" doc:"Region of the price list, such as eu-central-1; empty: read it from an AWS endpoint, and count without prices elsewhere. What was metered in another stays there (past)."`
	Account      string      `koanf:"account" doc:"Cloud account of this upstream, as the bill is to name it; empty: none. What was metered in another stays there (past)."`
	Unit         bridge.Size `koanf:"unit" doc:"Size of one metered message, 1B to 1MiB; AWS's 5 KB are 5120B or, by the other reading, 5000B: the bill shows the range, and what was metered before goes by what is set now. Another size holds from when it is set."`
	FreeTier     bool        `koanf:"free_tier" doc:"Take AWS's monthly free tier off the bill; only the first 12 months of an account have it, once for all of its regions."`
	Defender     string      `koanf:"defender" enum:"messages,free" doc:"Whether Device Defender's reports are metered as messages; AWS does not say."`
	PrefixLevels int         `koanf:"prefix_levels" doc:"Topic levels by which the ledger tells messages apart, 1 to 8."`
	MaxDevices   int         `koanf:"max_devices" doc:"Devices told apart per hour, 1 to 100000; further ones are counted together as (other)."`
	MaxPrefixes  int         `koanf:"max_prefixes" doc:"Topic prefixes and routes told apart per device and hour, 1 to 1000; further ones are counted together as (other)."`
	PriceList    string      `koanf:"price_list" doc:"File with prices in the form of the built-in list, to replace it; empty: the built-in one."`
	LinkPrice    string      `koanf:"link_price_per_mb" doc:"What a megabyte (1,000,000 bytes) of the link costs in dollars, such as 0.05, for a plan that is paid by volume; empty: nothing. Bytes are counted at the socket, TLS included, TCP and IP not."`

	Past string `koanf:"past" enum:"kept,as_now" doc:"How what was metered while region or account were others is billed: kept, by those, or as_now, by those that are set now, because the others were a mistake."`

	OtherUsage    OtherUsage     `koanf:"other_usage" doc:"What the rest of the cloud account uses in a month in this region: it uses up the free tier and the cheaper tiers are reached sooner. One gateway cannot know it."`
	DeclaredRules []DeclaredRule `koanf:"declared_rules" doc:"What happens in the cloud to messages of a topic, for the bill's estimated column: the gateway cannot see it."`
	Budgets       []Budget       `koanf:"budgets" doc:"What this upstream may cost: budgets that warn, and then act."`

	// MQTT3 says that the upstream speaks MQTT 3.1.1, in which no property
	// travels and none is metered. It comes from the upstream's protocol.
	MQTT3 bool

	// Endpoint is where it is reached: one that stays the same has not moved because
	// its region is said only now. It comes from the upstream's endpoint.
	Endpoint string

	// HTTP says that the upstream is reached over HTTPS, so that what a crash left
	// on the way went so. It comes from the upstream's way.
	HTTP bool
}

// OtherUsage is what the rest of an account uses in a month.
type OtherUsage struct {
	Messages int64 `koanf:"messages" doc:"Metered messages a month, 0 or more."`
	Minutes  int64 `koanf:"minutes" doc:"Minutes of connectivity a month, 0 or more."`
	Shadow   int64 `koanf:"shadow" doc:"Shadow and registry operations a month, 0 or more."`
	Rules    int64 `koanf:"rules" doc:"Rules triggered a month, 0 or more."`
	Actions  int64 `koanf:"actions" doc:"Actions executed a month, 0 or more."`
}

// DeclaredRule is what the cloud does with each message of a topic.
type DeclaredRule struct {
	Topic       string `koanf:"topic" doc:"Topic filter at the upstream."`
	Rules       int    `koanf:"rules" min:"0" max:"1000" doc:"Rules that each message triggers."`
	Actions     int    `koanf:"actions" min:"0" max:"1000" doc:"Actions that these rules execute for it, all together; a triggered rule bills one at least."`
	Subscribers int    `koanf:"subscribers" min:"0" max:"1000000" doc:"Clients that receive each message."`
	QoS         string `koanf:"qos" enum:"0,1" doc:"QoS of these subscriptions: at 1 each answer is metered too."`
}

// DefaultDeclaredRule is a declared rule that says nothing.
func DefaultDeclaredRule() DeclaredRule { return DeclaredRule{QoS: "0"} }

// DefaultOptions are AWS's unit, and a ledger of some 25 MB a month for 100
// devices with two prefixes: 100 × 2 series × 4 counters × 720 hours × 45 B.
func DefaultOptions() Options {
	return Options{Unit: DefaultUnit, Defender: DefenderMessages, Past: PastKept, PrefixLevels: 2, MaxDevices: 1000, MaxPrefixes: 20}
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
	for _, u := range []struct {
		path string
		n    int64
	}{{"messages", o.OtherUsage.Messages}, {"minutes", o.OtherUsage.Minutes}, {"shadow", o.OtherUsage.Shadow}, {"rules", o.OtherUsage.Rules}, {"actions", o.OtherUsage.Actions}} {
		between("other_usage."+u.path, u.n, 0, 1e15)
	}
	if _, ok := linkPrice(o.LinkPrice); !ok {
		out = append(out, bridge.Problem{Path: "link_price_per_mb", Text: fmt.Sprintf("%q is not a price", o.LinkPrice), Remedy: "write dollars per megabyte, such as 0.05"})
	}
	for i, r := range o.DeclaredRules {
		at := fmt.Sprintf("declared_rules[%d].", i)
		if !validFilter(r.Topic) {
			out = append(out, bridge.Problem{Path: at + "topic", Text: fmt.Sprintf("%q is not a topic filter", r.Topic), Remedy: "write a filter such as dt/# or dt/+/temp"})
		}
		between(at+"rules", int64(r.Rules), 0, 1000)
		between(at+"actions", int64(r.Actions), 0, 1000)
		between(at+"subscribers", int64(r.Subscribers), 0, 1_000_000)
	}
	names := map[string]bool{}
	for i, b := range o.Budgets {
		at := fmt.Sprintf("budgets[%d].", i)
		for _, p := range b.Validate() {
			p.Path = at + p.Path
			out = append(out, p)
		}
		if names[b.Name] && b.Name != "" {
			out = append(out, bridge.Problem{Path: at + "name", Text: fmt.Sprintf("%q is another budget's name", b.Name), Remedy: "give each its own"})
		}
		names[b.Name] = true
	}
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

// linkPrice is the price of a megabyte, nil when none is set.
func linkPrice(text string) (*big.Rat, bool) {
	if text == "" {
		return nil, true
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || r.Sign() < 0 || len(text) > 32 || strings.ContainsAny(text, "eE/") {
		return nil, false
	}
	return r, true
}

// RegionOf reads the region out of an AWS IoT Core endpoint, such as
// "mqtts://x-ats.iot.eu-central-1.amazonaws.com:8883"; empty when it is none.
func RegionOf(endpoint string) string {
	for _, service := range []string{".iot.", ".iot-fips."} {
		_, rest, _ := strings.Cut(endpoint, service)
		region, domain, _ := strings.Cut(rest, ".")
		if strings.HasPrefix(domain, "amazonaws.com") || strings.HasPrefix(domain, "api.aws") {
			return region
		}
	}
	return ""
}
