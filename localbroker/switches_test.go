package localbroker

import (
	"crypto/tls"
	"reflect"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestSwitchValues: every switch has its default among its values, and what is
// none of them is a problem at its key.
func TestSwitchValues(t *testing.T) {
	normal := reflect.ValueOf(defaultSwitches())
	for i := range normal.NumField() {
		field := normal.Type().Field(i)
		key, values := field.Tag.Get("koanf"), strings.Split(field.Tag.Get("enum"), ",")
		if values[0] != normal.Field(i).String() {
			t.Errorf("%s: the default is %q, and the first value %q", key, normal.Field(i), values[0])
		}
		for _, v := range append(values, "otherwise") {
			s := defaultSwitches()
			reflect.ValueOf(&s).Elem().Field(i).SetString(v)
			var ps problems
			s.validate("", &ps)
			if v != "otherwise" && len(ps.list) > 0 || v == "otherwise" && (len(ps.list) != 1 || ps.list[0].Path != key) {
				t.Errorf("%s: %s: %+v", key, v, ps.list)
			}
		}
	}
	if got := (SwitchOptions{}).withDefaults(); got != defaultSwitches() {
		t.Errorf("the defaults of nothing: %+v", got)
	}
}

// TestRequireSNI: a device that does not name the server is let in, unless
// tls.require_sni asks for a name (B03).
func TestRequireSNI(t *testing.T) {
	ca := peers.CA(t)
	cert := ca.Client("dev", peers.Validity{})
	for _, required := range []bool{false, true} {
		o := secure(ca, profileAWS, clientFingerprint)
		o.TLS.RequireSNI = required
		h := open(t, people{known: map[string]bool{"dev": true}}, o)
		for _, name := range []string{"localhost", ""} {
			conn, err := tls.Dial("tcp", h.addr(), &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: []tls.Certificate{cert.TLS}})
			if err != nil {
				t.Fatal(err)
			}
			d := over(t, conn, 5)
			if required && name == "" {
				d.expectHangUp()
				if why := receive(t, "the refusal", h.no); why != "handshake" {
					t.Errorf("refused by %q", why)
				}
				continue
			}
			if ack := d.connect("dev"); ack.ReasonCode != 0 {
				t.Errorf("required %v, name %q: CONNACK %#x", required, name, ack.ReasonCode)
			}
		}
	}
}
