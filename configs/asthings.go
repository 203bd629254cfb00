package configs

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// AsThing are the options of the connection of a thing of its own: its certificate
// is the login, so the gateway's is left out.
func (u Upstream) AsThing(t upstream.OwnThing) mqtt.Options {
	o := u.MQTT
	o.ClientID, o.Username, o.Password, o.Authorizer = t.Name, "", "", mqtt.AuthorizerOptions{}
	o.TLS.Cert, o.TLS.Key = t.Cert, t.Key
	return o
}

// resolved makes the paths of the things' files absolute and finds the things.
// That one of the files is not there is no mistake of the whole configuration: it
// keeps back that thing alone.
func resolved(dir string, o upstream.ThingsOptions) upstream.ThingsOptions {
	o.Things = slices.Clone(o.Things)
	for _, path := range []*string{&o.Cert, &o.Key} {
		if *path != "" {
			*path = absolute(dir, *path)
		}
	}
	for i := range o.Things {
		for _, path := range []*string{&o.Things[i].Cert, &o.Things[i].Key} {
			if *path != "" {
				*path = absolute(dir, *path)
			}
		}
	}
	return o.Resolve()
}

// own tells the routes which things have queues of their own.
func (c *check) own() {
	for name, u := range c.config.Upstreams {
		if len(u.AsThings.Things) > 0 {
			if c.config.Routes.Own == nil {
				c.config.Routes.Own = map[string][]string{}
			}
			c.config.Routes.Own[name] = u.AsThings.Names()
		}
	}
}

// maxOwnQueues is how many queues all things with a connection of their own may
// have to one upstream: each route gives each of them one.
const maxOwnQueues = 4000

// thingConnections finds connections of things that could not be.
func (c *check) thingConnections() {
	for _, name := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
		u, at := c.config.Upstreams[name], "upstreams."+name+".as_things"
		if !u.AsThings.Used() {
			continue
		}
		e, err := url.Parse(u.MQTT.Endpoint)
		if u.MQTT.Endpoint != "" && err == nil && e.Scheme != "mqtts" || u.Type == TypeSandbox {
			c.complain(at, codeThings, "needs MQTT over TLS: a thing's certificate is its login", "use an endpoint with mqtts://, or take as_things out")
		}
		routes := 0
		for _, r := range c.config.Routes.Up {
			if r.Upstream == name {
				routes++
			}
		}
		if n := routes * len(u.AsThings.Things); n > maxOwnQueues {
			c.complain(at, codeThings, fmt.Sprintf("makes %d queues, one for each thing and route: more than %d", n, maxOwnQueues), "name fewer things, or merge routes")
		}
		for _, thing := range u.AsThings.Names() {
			for _, other := range slices.Sorted(maps.Keys(c.config.Upstreams)) {
				if o := c.config.Upstreams[other]; o.MQTT.Endpoint == u.MQTT.Endpoint && (o.uses(thing) || other < name && slices.Contains(o.AsThings.Names(), thing)) {
					c.complain(at, codeClientID, fmt.Sprintf("thing %s would be a client id that upstream %s has at %s: the two connections would close each other", quote(thing), other, u.MQTT.Endpoint), "give the upstream another client_id, or leave the thing out")
				}
			}
		}
	}
}

// uses reports whether one of the upstream's connections, but for those of things,
// has a client id.
func (u Upstream) uses(id string) bool {
	for i := range u.Pool.Most() {
		if upstream.ClientID(u.MQTT.ClientID, i) == id {
			return true
		}
	}
	return id == u.MQTT.ClientID+"-down"
}
