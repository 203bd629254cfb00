package configs

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream/aws"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// contradictions finds what is wrong between the parts, and in those that have
// no package of their own.
func (c *check) contradictions() {
	c.routes()
	c.clientIDs()
	c.sandboxes()
	c.signatures()
	c.failovers()
	c.budgets()
	c.thingConnections()
	c.admin()
	c.listenerPolicies()
	if t := c.config.ShutdownTimeout; t < 0 || t > 10*time.Minute {
		c.complain("shutdown_timeout", codeTimeout, formatDuration(t)+" is out of range", "set it between 0s and 10m")
	}
}

// routes finds routes to upstreams that are not there.
func (c *check) routes() {
	known := slices.Sorted(maps.Keys(c.config.Upstreams))
	look := func(path, name string) {
		if _, ok := c.config.Upstreams[name]; ok || name == "" || c.covered("upstreams."+name) {
			return
		}
		remedy := "there is no upstream yet: add it under upstreams:"
		if len(known) > 0 {
			remedy = "add it under upstreams:, or " + strings.TrimSuffix(meant(name, known), "?")
		}
		if k := closest(name, known); k != "" {
			remedy = "did you mean " + k + "? Else add it under upstreams:"
		}
		c.complain(path, codeUpstream, quote(name)+" is not an upstream", remedy)
	}
	receives := func(path, name string) {
		if _, https := c.config.Upstreams[name].HTTPS(); https {
			c.complain(path, codeOneWay, quote(name)+" is published to over HTTPS, which brings nothing back", "use an endpoint with mqtts:// or wss://, or another upstream for this")
		}
	}
	look("streams.cloud.upstream", c.config.Streams.Cloud.Upstream)
	receives("streams.cloud.upstream", c.config.Streams.Cloud.Upstream)
	if e := c.config.FileTransfer.Export; e.To == ExportUpstream {
		look("file_transfer.export.upstream", e.Upstream.Upstream)
		receives("file_transfer.export.upstream", e.Upstream.Upstream)
	}
	look("routes.pass_through.upstream", c.config.Routes.PassThrough.Upstream)
	receives("routes.pass_through.upstream", c.config.Routes.PassThrough.Upstream)
	for i, r := range c.config.Routes.Up {
		look(indexed("routes.up", i)+".upstream", r.Upstream)
		if c.config.Upstreams[r.Upstream].MQTT.Protocol == "3.1.1" && r.Origin == "user_properties" {
			c.complain(indexed("routes.up", i)+".origin", codeProperties, "is user_properties, and "+quote(r.Upstream)+" speaks MQTT 3.1.1, which has none", "set it to envelope, or to none")
		}
		if r.Steps.Divert != 0 && !c.config.FileTransfer.Enabled {
			c.complain(indexed("routes.up", i)+".divert", codeNoFiles, "makes files, and file transfer is off: there is nowhere for them to go", "set file_transfer.enabled: true, and file_transfer.export.to, or take divert out")
		}
	}
	for i, r := range c.config.Routes.Down {
		look(indexed("routes.down", i)+".upstream", r.Upstream)
		receives(indexed("routes.down", i)+".upstream", r.Upstream)
	}
}

// clientIDs finds connections that would take each other's place: a broker
// closes the older one of a client id (B19), and the two would go on for ever.
func (c *check) clientIDs() {
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
		u := c.config.Upstreams[name]
		if u.MQTT.Endpoint == "" {
			continue
		}
		ids := []string{u.MQTT.ClientID, u.MQTT.ClientID + "-down", u.MQTT.ClientID + "-streams", u.MQTT.ClientID + "-files"}
		for _, id := range ids {
			if other, twice := taken[u.MQTT.Endpoint+" "+id]; twice {
				c.complain("upstreams."+name+".client_id", codeClientID,
					fmt.Sprintf("%s is also the client id of upstream %s at %s: the two connections would close each other", quote(id), other, u.MQTT.Endpoint),
					"give each its own client_id")
				break
			}
		}
		for _, id := range ids {
			taken[u.MQTT.Endpoint+" "+id] = name
		}
	}
}

// sandboxes finds sandboxes that are dressed as a cloud.
func (c *check) sandboxes() {
	for _, name := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
		u := c.config.Upstreams[name]
		if u.Type != TypeSandbox || u.MQTT.Endpoint == "" {
			continue
		}
		if e, err := url.Parse(u.MQTT.Endpoint); err != nil || !onLoopback(net.JoinHostPort(e.Hostname(), "0")) {
			c.complain("upstreams."+name+".endpoint", codeSandbox, "is not on this machine, and a sandbox is", "use type: mqtt for a real broker, or leave the endpoint out")
		}
	}
}

// failovers finds upstreams that fail over to nobody, to themselves, in a circle,
// or in too long a chain.
func (c *check) failovers() {
	for _, name := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
		u, at := c.config.Upstreams[name], "upstreams."+name+".failover.to"
		other, ok := c.config.Upstreams[u.Failover.To]
		switch {
		case u.Failover.To == name:
			c.complain(at, codeFailover, "is the upstream itself", "name another one")
		case ok && (u.Type == TypeSandbox || other.Type == TypeSandbox):
			c.complain(at, codeFailover, "a sandbox is on this machine and is always reached", "leave it out")
		case slices.Contains(Chain(c.config.Upstreams, u.Failover.To), name):
			c.complain(at, codeFailover, "ends in a circle: "+strings.Join(append(Chain(c.config.Upstreams, name), name), " → "), "let the last of them have no failover")
		case len(Chain(c.config.Upstreams, name)) > maxChain:
			c.complain(at, codeFailover, fmt.Sprintf("is one of a chain of more than %d upstreams", maxChain), "make it shorter")
		case ok && longID(c.config.Upstreams, name) != "":
			long := longID(c.config.Upstreams, name)
			c.complain(at, codeFailover, "makes the client id "+quote(FailoverID(c.config.Upstreams[long], name))+", which is too long", "give "+quote(long)+" a shorter client_id")
		case u.Failover.To != "" && !ok:
			c.complain(at, codeUpstream, quote(u.Failover.To)+" is not an upstream", "add it under upstreams:")
		}
	}
}

// longID is an upstream of a chain whose client id on behalf of the first is too
// long; the pool adds its numbers.
func longID(all map[string]Upstream, name string) string {
	for _, to := range Chain(all, name)[1:] {
		if len(FailoverID(all[to], name)) > 120 {
			return to
		}
	}
	return ""
}

// signatures finds logins by a signature that nobody could make, or would make.
func (c *check) signatures() {
	for _, name := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
		u, at := c.config.Upstreams[name], "upstreams."+name
		_, signs := u.Signs()
		signs = signs || u.Way == WayAuto
		switch {
		case u.signsWithout():
			c.complain(at+".aws.region", codeRegion, "is missing: the endpoint's host does not tell which region to sign for", "set it, such as eu-central-1")
		case u.AWS.Sign == aws.SignNever && u.AWS.AccessKeyID+u.AWS.Profile != "":
			c.complain(at+".aws.sign", codeSign, "is never, and AWS credentials are given", "remove them, or sign")
		case !signs && u.AWS.Sign == aws.SignAlways:
			c.complain(at+".aws.sign", codeSign, "is always, and MQTT over TLS has no signature", "use an endpoint with wss:// or https://, or remove aws.sign")
		}
	}
}

// admin finds an admin port that others could reach: it asks nobody who he is.
func (c *check) admin() {
	a := c.config.Admin.Address
	if a == "" {
		return
	}
	if _, _, err := net.SplitHostPort(a); err != nil {
		c.complain("admin.address", codeAdmin, quote(a)+" is not a host and a port", "write it as 127.0.0.1:9883")
		return
	}
	if !onLoopback(a) {
		c.complain("admin.address", codeAdmin, a+" can be reached from the network, and the admin port asks nobody who he is", "listen on 127.0.0.1")
	}
	for _, l := range c.config.Broker.Listeners {
		if l.Address == a && !strings.HasSuffix(a, ":0") {
			c.complain("admin.address", codeAddress, a+" is also the address of listener "+l.Name, "use another port")
		}
	}
}

// budgets finds budgets in dollars where nothing has a price, and such as are to
// make batches fuller where no route makes any.
func (c *check) budgets() {
	for _, name := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
		batches := slices.ContainsFunc(c.config.Routes.Up, func(r rules.UpRoute) bool {
			return r.Upstream == name && r.Steps.Batch.Format != "none"
		})
		u := c.config.Upstreams[name]
		for i, b := range u.Billing.Budgets {
			if b.USD != "" && !u.priced() {
				c.complain(indexed("upstreams."+name+".billing.budgets", i)+".usd", codePrices,
					"never comes to its end: "+quote(name)+" has no region with prices", "set billing.region, or count metered_messages instead")
			}
			if b.BatchAge > 0 && !batches {
				c.complain(indexed("upstreams."+name+".billing.budgets", i)+".batch_age", codeBatch,
					"does nothing: no route to "+quote(name)+" makes batches", "give a route batch: {format: json}, or take batch_age out")
			}
		}
	}
}

// priced reports whether what goes to the upstream has a price: a region that is
// set is looked up elsewhere.
func (u Upstream) priced() bool {
	if u.Billing.Region != "" || u.Billing.PriceList != "" {
		return true
	}
	_, ok := billing.BuiltIn().Regions[billing.RegionOf(u.MQTT.Endpoint)]
	return ok
}

// listenerPolicies finds policies that listeners attach and nobody wrote.
func (c *check) listenerPolicies() {
	folder := c.config.Policy.Policies
	if c.covered("policy.policies") {
		return
	}
	for i, l := range c.config.Broker.Listeners {
		for j, name := range l.Policies {
			at := indexed(indexed("listeners", i)+".policies", j)
			if folder == "" {
				c.complain(at, codePolicy, quote(name)+" is named, but policy.policies is empty", "name the folder of the policy documents there")
			} else if info, err := os.Stat(policyFile(folder, name)); err != nil || info.IsDir() || strings.ContainsAny(name, `/\`) {
				c.complain(at, codePolicy, quote(name)+" is not a policy: there is no "+name+".json in "+folder, "write it, or correct the name")
			}
		}
	}
}

// onLoopback reports whether an address can be reached from this host only.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
