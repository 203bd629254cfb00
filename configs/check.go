package configs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// check completes a decoded configuration and finds what is wrong with it.
type check struct {
	*decoder
	config *Config
}

// identity fills in the ids that default to others.
func (c *check) identity(hostname func() (string, error)) {
	g := &c.config.Gateway
	if g.ID == "" {
		host, err := hostname()
		if err != nil || !validID(host) || (host == "localhost" && len(c.config.Upstreams) > 0) {
			c.complain("gateway.id", codeGatewayID, "is missing, and the host's name ("+quote(host)+") does not tell this gateway from others", "give it a name that no other gateway of the cloud account has")
			host = "gateway"
		}
		g.ID = host
	} else if !validID(g.ID) {
		c.complain("gateway.id", codeGatewayID, quote(g.ID)+" is not a name", "use 1 to 64 letters, digits, '.', '-' and '_'")
	}
	for name, u := range c.config.Upstreams {
		if u.MQTT.Endpoint == "" && u.Way == WayAuto && len(u.Ways) > 0 {
			u.MQTT.Endpoint = u.Ways[0]
		}
		if u.MQTT.ClientID == "" {
			u.MQTT.ClientID = g.ID + "-" + name
		}
		c.config.Upstreams[name] = u
	}
	if s := &c.config.Streams.Cloud; s.Upstream != "" && s.Thing == "" {
		s.Thing = strings.ReplaceAll(g.ID, ".", "-") // no thing's name has a dot
	}
}

func validID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

// fileKey is a key that names a file or a folder.
type fileKey struct {
	path   string
	value  *string
	folder bool
	made   bool // the gateway makes it when it is not there
}

// files makes paths absolute, and finds those where nothing is.
func (c *check) files(dir string) {
	cfg := c.config
	for i := range cfg.Broker.Listeners {
		l, at := &cfg.Broker.Listeners[i], indexed("listeners", i)+"."
		c.file(dir, fileKey{path: at + "users", value: &l.Users})
		c.file(dir, fileKey{path: at + "tls.cert", value: &l.TLS.Cert})
		c.file(dir, fileKey{path: at + "tls.key", value: &l.TLS.Key})
		c.file(dir, fileKey{path: at + "tls.client_ca", value: &l.TLS.ClientCA})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u, at := cfg.Upstreams[name], "upstreams."+name+"."
		c.file(dir, fileKey{path: at + "tls.ca", value: &u.MQTT.TLS.CA})
		c.file(dir, fileKey{path: at + "tls.cert", value: &u.MQTT.TLS.Cert})
		c.file(dir, fileKey{path: at + "tls.key", value: &u.MQTT.TLS.Key})
		c.file(dir, fileKey{path: at + "billing.price_list", value: &u.Billing.PriceList})
		u.AsThings = resolved(dir, u.AsThings)
		cfg.Upstreams[name] = u
	}
	c.own()
	c.file(dir, fileKey{path: "spool.dir", value: &cfg.Spool.Dir, folder: true, made: true})
	c.file(dir, fileKey{path: "streams.dir", value: &cfg.Streams.Dir, folder: true, made: true})
	c.transferFolders(dir)
	c.file(dir, fileKey{path: "policy.things", value: &cfg.Policy.Things})
	c.file(dir, fileKey{path: "policy.policies", value: &cfg.Policy.Policies, folder: true})
}

func (c *check) file(dir string, k fileKey) {
	if *k.value == "" {
		return
	}
	*k.value = absolute(dir, *k.value)
	info, err := os.Stat(*k.value)
	switch {
	case err != nil && k.made && os.IsNotExist(err):
	case err != nil:
		c.complain(k.path, codeFile, "names what is not there: "+cause(err, *k.value), "create it, or correct the path (it counts from "+dir+")")
	case info.IsDir() && !k.folder:
		c.complain(k.path, codeFileKind, "names "+*k.value+", which is a folder", "name a file")
	case !info.IsDir() && k.folder:
		c.complain(k.path, codeFileKind, "names "+*k.value+", which is not a folder", "name a folder")
	}
}

// packages asks every package about its part.
func (c *check) packages() {
	cfg := c.config
	c.under("spool", "spool", cfg.Spool.Validate())
	c.under("policy", "policy", cfg.Policy.Validate())
	c.under("", "broker", cfg.Broker.Validate())
	c.transfer()
	c.under("routes", "routes", cfg.Routes.Validate())
	c.under("streams", "streams", cfg.Streams.Validate())
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u, at := cfg.Upstreams[name], "upstreams."+name
		if u.Type == TypeSandbox && u.MQTT.Endpoint == "" {
			u.MQTT.Endpoint = "mqtt://localhost" // it chooses its own
		}
		c.under(at, "upstream", u.validateWays())
		c.under(at, "upstream", u.Pool.Validate(u.MQTT.ClientID))
		c.under(at+".as_things", "upstream", u.AsThings.Validate(u.MQTT.TLS))
		c.under(at+".aws", "upstream", u.AWS.Validate())
		c.under(at+".failover", "upstream", u.Failover.Validate())
		c.under(at+".billing", "billing", u.Billing.Validate())
		c.under(at+".metered", "metered", u.Metered.Validate())
	}
}

func (c *check) under(path, code string, ps []bridge.Problem) {
	for _, p := range ps {
		c.complain(join(path, p.Path), code, p.Text, p.Remedy)
	}
}

// policyFile is where the policy of a name stands.
func policyFile(folder, name string) string {
	return filepath.Join(folder, fmt.Sprintf("%s.json", name))
}
