package account

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// fleet is a registry as far as questions are made of it. That it is valid,
// [policy.Load] has said before.
type fleet struct {
	Things       map[string]fleetThing
	Groups       map[string]fleetGroup
	Certificates map[string]fleetCertificate

	site *site
}

type fleetThing struct {
	Type         string
	Attributes   map[string]string
	Groups       []string
	Certificates []string
	Policies     []string
}

type fleetGroup struct {
	Parent   string
	Policies []string
}

type fleetCertificate struct {
	Status   string
	Policies []string
}

// readFleet reads a registry; certificates are by id afterwards.
func readFleet(file string) (*fleet, error) {
	v := &fleet{site: &site{things: file}}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("%s: %s", file, oneLine(err))
	}
	byID := map[string]fleetCertificate{}
	for name, c := range v.Certificates {
		id, err := v.site.certificateID(name)
		if err != nil {
			return nil, err
		}
		byID[id] = c
	}
	v.Certificates = byID
	for name, t := range v.Things {
		for i, c := range t.Certificates {
			if t.Certificates[i], err = v.site.certificateID(c); err != nil {
				return nil, err
			}
		}
		v.Things[name] = t
		for _, id := range t.Certificates {
			c := v.Certificates[id]
			c.Policies = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(c.Policies), t.Policies...))))
			v.Certificates[id] = c
		}
	}
	return v, nil
}

// policies are those that apply to a thing which connects with a certificate
// under its own name.
func (v *fleet) policies(thing, id string) []string {
	out := slices.Clone(v.Certificates[id].Policies)
	for _, name := range v.Things[thing].Groups {
		for range len(v.Groups) { // a chain of parents is no longer
			g, ok := v.Groups[name]
			if !ok {
				break
			}
			out = append(out, g.Policies...)
			name = g.Parent
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// active lists the things that can connect, with a certificate of each. One of
// every kind comes first, so that a limit leaves out only more of the same: of
// a kind are those with the same policies, type and names of attributes.
func (v *fleet) active() (out []fleetClient) {
	var more []fleetClient
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(v.Things)) {
		t := v.Things[name]
		for _, id := range t.Certificates {
			if s := v.Certificates[id].Status; s != "" && s != "ACTIVE" {
				continue
			}
			c := fleetClient{thing: name, id: id, policies: v.policies(name, id)}
			kind := strings.Join(c.policies, "\x00") + "\x00\x00" + t.Type + "\x00" + strings.Join(slices.Sorted(maps.Keys(t.Attributes)), "\x00")
			if !seen[kind] {
				seen[kind] = true
				out = append(out, c)
			} else {
				more = append(more, c)
			}
			break
		}
	}
	return append(out, more...)
}

// fleetClient is a thing that connects with a certificate.
type fleetClient struct {
	thing, id string
	policies  []string // names here
}

// certificate finds the certificate of an id: the pull put it beside the
// registry. Without it the variables of certificates have no values.
func (v *fleet) certificate(id string) *x509.Certificate {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(v.site.things), pemFolder, id+".pem"))
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}
