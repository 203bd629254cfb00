package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PassThroughOptions let devices reach AWS's services on their reserved topics:
// requests go up, answers come back to the device that asked. They stand for
// routes, and before those that are written.
type PassThroughOptions struct {
	Upstream string        `koanf:"upstream" doc:"Upstream whose services devices may ask; empty: none."`
	Services []string      `koanf:"services" doc:"Which services: shadow, jobs, provisioning; empty: all."`
	Offline  string        `koanf:"offline" enum:"reject,silent,queue" doc:"What a request meets while the upstream is away: reject answers it as the service would, with code 503; silent answers nothing; queue is reject, but shadow updates that only report state are kept and sent later."`
	Answers  string        `koanf:"answers" enum:"direct,subscribe" doc:"How answers of jobs and provisioning come: direct is AWS, which sends them to the connection that asked; subscribe asks for them, for other brokers."`
	Timeout  time.Duration `koanf:"timeout" doc:"How long an answer is awaited, whole seconds, 1s to 10m; a request that could not be sent by then is not sent at all, and is answered as offline says."`
	TTL      time.Duration `koanf:"ttl" doc:"How long queued updates wait on the way up, deltas and notices of jobs on the way down, 1m to 30d."`
	InFlight int           `koanf:"in_flight" min:"1" max:"1000" doc:"Most unanswered requests about one thing, 1 to 1000; more are answered with code 429 (AWS: 10)."`
	Priority int           `koanf:"priority" min:"0" max:"9" doc:"0 to 9: a higher number goes first; how much more often, the upstream's priority_weight says."`
}

// DefaultPassThrough lets nothing pass, since it names no upstream. A request
// has a priority above telemetry's: its device waits.
func DefaultPassThrough() PassThroughOptions {
	return PassThroughOptions{
		Offline: "reject", Answers: "direct",
		Timeout: 30 * time.Second, TTL: 24 * time.Hour, InFlight: 10, Priority: 8,
	}
}

// PassThroughRoute is the name of the routes that the options stand for.
const PassThroughRoute = "pass-through"

// service is the topics of one service: of requests, and what must be
// subscribed to for what comes from it. No two overlap, so that no request comes
// back (B120); that is why there is no "#".
type service struct {
	once     bool // a request must not come twice: nothing in its answer says whose it is
	requests []string
	notices  []string // comes to whoever subscribes
	answers  []string // AWS sends it to the connection that asked (B212)
}

var serviceNames = []string{"shadow", "jobs", "provisioning"}

var services = map[string]service{
	"shadow": {
		requests: []string{
			"$aws/things/+/shadow/get", "$aws/things/+/shadow/update", "$aws/things/+/shadow/delete",
			"$aws/things/+/shadow/name/+/get", "$aws/things/+/shadow/name/+/update", "$aws/things/+/shadow/name/+/delete",
		},
		notices: []string{
			"$aws/things/+/shadow/+/accepted", "$aws/things/+/shadow/+/rejected", "$aws/things/+/shadow/update/delta",
			"$aws/things/+/shadow/name/+/+/accepted", "$aws/things/+/shadow/name/+/+/rejected", "$aws/things/+/shadow/name/+/update/delta",
		},
	},
	"jobs": {
		requests: []string{
			"$aws/things/+/jobs/get", "$aws/things/+/jobs/start-next",
			"$aws/things/+/jobs/+/get", "$aws/things/+/jobs/+/update",
		},
		notices: []string{"$aws/things/+/jobs/notify", "$aws/things/+/jobs/notify-next"},
		answers: []string{
			"$aws/things/+/jobs/+/accepted", "$aws/things/+/jobs/+/rejected",
			"$aws/things/+/jobs/+/+/accepted", "$aws/things/+/jobs/+/+/rejected",
		},
	},
	"provisioning": {
		once: true,
		requests: []string{
			"$aws/certificates/create/+", "$aws/certificates/create-from-csr/+", "$aws/provisioning-templates/+/provision/+",
		},
		answers: []string{
			"$aws/certificates/+/+/accepted", "$aws/certificates/+/+/rejected",
			"$aws/provisioning-templates/+/provision/+/accepted", "$aws/provisioning-templates/+/provision/+/rejected",
		},
	},
}

// ups are the routes up that the options stand for.
func (p PassThroughOptions) ups() []UpRoute {
	var out []UpRoute
	for _, name := range p.known() {
		for _, from := range services[name].requests {
			u := DefaultUpRoute()
			u.Name, u.From, u.Upstream = PassThroughRoute, from, p.Upstream
			u.Priority, u.TTL, u.Origin = p.Priority, p.TTL, "none"
			if services[name].once {
				u.QoS = "0"
			}
			out = append(out, u)
		}
	}
	return out
}

// downs are the routes down that the options stand for.
func (p PassThroughOptions) downs() []DownRoute {
	var out []DownRoute
	for _, name := range p.known() {
		filters := services[name].notices
		if p.Answers == "subscribe" {
			filters = slices.Concat(filters, services[name].answers)
		}
		for _, from := range filters {
			d := DefaultDownRoute()
			d.Name, d.From, d.Upstream = PassThroughRoute, from, p.Upstream
			d.Priority, d.TTL = p.Priority, p.TTL
			out = append(out, d)
		}
	}
	return out
}

// known lists the services that pass, of those that exist.
func (p PassThroughOptions) known() []string {
	if p.Upstream == "" {
		return nil
	}
	var out []string
	for _, name := range serviceNames {
		if len(p.Services) == 0 || slices.Contains(p.Services, name) {
			out = append(out, name)
		}
	}
	return out
}

// expanded are the options with the routes of pass-through written out, before
// all others.
func (o Options) expanded() Options {
	o.Up = append(o.PassThrough.ups(), o.Up...)
	o.Down = append(o.PassThrough.downs(), o.Down...)
	return o
}

// passThrough checks the options.
func (v *validation) passThrough() {
	p := v.options.PassThrough
	if p.Upstream == "" {
		return
	}
	v.names[PassThroughRoute] = "pass_through"
	v.closed("pass_through.offline", p.Offline, "reject", "silent", "queue")
	v.closed("pass_through.answers", p.Answers, "direct", "subscribe")
	for i, name := range p.Services {
		v.closed(fmt.Sprintf("pass_through.services[%d]", i), name, serviceNames...)
	}
	if p.Timeout < time.Second || p.Timeout > 10*time.Minute || p.Timeout%time.Second != 0 {
		v.add("pass_through.timeout", p.Timeout.String()+" is out of range", "write whole seconds, from 1s to 10m")
	}
	if p.TTL < time.Minute || p.TTL > 30*24*time.Hour {
		v.add("pass_through.ttl", p.TTL.String()+" is out of range", "write a duration from 1m to 30d")
	}
	if p.InFlight < 1 || p.InFlight > 1000 {
		v.add("pass_through.in_flight", fmt.Sprintf("%d is out of range", p.InFlight), "write a number from 1 to 1000")
	}
	if p.Priority < 0 || p.Priority > 9 {
		v.add("pass_through.priority", fmt.Sprintf("%d is not from 0 to 9", p.Priority), "choose 0 (last) to 9 (first)")
	}
}

// passed parses the routes that pass-through stands for.
func (p PassThroughOptions) passed() (ups []parsedUp, downs []parsedDown) {
	for _, u := range p.ups() {
		ups = append(ups, parsedUp{-1, u, mustFilter(u.From), mustTemplate(u.Topic, true)})
	}
	for _, d := range p.downs() {
		downs = append(downs, parsedDown{-1, d, mustFilter(d.From)})
	}
	return ups, downs
}

// at is where a key of the route stands in the configuration.
func (u parsedUp) at(key string) string { return place("up", u.i, key) }

// at is where the filter of the route stands in the configuration.
func (d parsedDown) at() string { return place("down", d.i, "from") }

// place is the path of a key of a route, which is pass_through for those that
// nobody wrote.
func place(list string, i int, key string) string {
	if i < 0 {
		return "pass_through"
	}
	return strings.TrimSuffix(fmt.Sprintf("%s[%d].%s", list, i, key), ".")
}
