package localbroker

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// awsQuota is a row of AWS's table of quotas.
type awsQuota struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Code    string `json:"quota_code"`
	Default any    `json:"default"`
	Unit    string `json:"unit"`
}

func awsTable(t *testing.T) map[string]awsQuota {
	t.Helper()
	text, err := os.ReadFile("testdata/quotas.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Quotas []awsQuota `json:"quotas"`
	}
	if err := json.Unmarshal(text, &table); err != nil || len(table.Quotas) != 49 {
		t.Fatalf("%d quotas, %v", len(table.Quotas), err)
	}
	out := map[string]awsQuota{}
	for _, q := range table.Quotas {
		out[q.ID] = q
	}
	return out
}

// elsewhere is what the table has and no key: where it is, or why it is not.
var elsewhere = map[string]string{
	"Q43": "no number: AWS ends connections when it must",
	"Q44": "there are no custom authorizers here: a user's login ends with a reload of the users file",
	"Q45": "there are no custom authorizers here",
}

// besides are the numbers that the table has in words only: keys whose row has
// another value as its default.
var besides = map[string]int64{
	"keep_alive_min":                   30,   // Q05: 1..29 becomes 30
	"retry_mqtt3":                      3600, // Q10: the text of the row
	"message_expiry_min":               1,    // Q38: 0 becomes 1
	"delete_connection_per_client_id":  1,    // Q46: "1 / 100"
	"delete_connection_per_second":     100,
	"get_connection_per_client_id":     1, // Q47, Q48: as well
	"get_connection_per_second":        100,
	"list_subscriptions_per_client_id": 1,
	"list_subscriptions_per_second":    100,
}

// TestQuotaDefaults: every quota that a broker can enforce is a key, whose
// default in profile aws is AWS's value and whose sentence names row and quota
// code (Q01-Q49).
func TestQuotaDefaults(t *testing.T) {
	table := awsTable(t)
	keyed := map[string]bool{}
	for _, part := range []any{DefaultQuotas(profileAWS), DefaultAccountQuotas()} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, id, doc := f.Tag.Get("koanf"), f.Tag.Get("quota"), f.Tag.Get("doc")
			if key == "pace" {
				continue
			}
			row, known := table[id]
			if !known {
				t.Errorf("%s: the table has no row %q", key, id)
				continue
			}
			keyed[id] = true
			for _, word := range append([]string{id}, strings.Split(row.Code, " / ")[0]) {
				if key == "delete_connection_per_second" && word != id {
					word = "L-6F708547" // the second code of the row
				}
				if f.Type.Kind() != reflect.String && !strings.Contains(doc, word) {
					t.Errorf("%s: %q does not name %s", key, doc, word)
				}
			}
			if f.Type.Kind() == reflect.String {
				continue
			}
			want, ok := besides[key]
			if !ok {
				n, isNumber := row.Default.(float64)
				if want = int64(n); !isNumber {
					t.Errorf("%s: the default of %s is %v", key, id, row.Default)
				}
			}
			if strings.HasPrefix(row.Unit, "KB/s") {
				want *= 1024
			}
			if got := plainNumber(v.Field(i)); got != want {
				t.Errorf("%s is %d, AWS has %d %s (%s)", key, got, want, row.Unit, id)
			}
		}
	}
	for id, row := range table {
		if keyed[id] == (elsewhere[id] != "") {
			t.Errorf("%s (%s): a key %v, and elsewhere %q", id, row.Name, keyed[id], elsewhere[id])
		}
	}
}

// plainNumber is a value in bytes, seconds or pieces.
func plainNumber(v reflect.Value) int64 {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return v.Int() / int64(time.Second)
	}
	return v.Int()
}

// TestEdgeQuotas: aws-edge has AWS's quotas, but that those of pace warn and
// that sessions last 7 days.
func TestEdgeQuotas(t *testing.T) {
	want := DefaultQuotas(profileAWS)
	want.Pace, want.SessionExpiry = paceWarn, 7*24*time.Hour
	if got := DefaultQuotas(profileAWSEdge); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := DefaultQuotas(profileMQTT).Pace; got != paceIgnore {
		t.Errorf("profile mqtt has pace %s", got)
	}
}

// TestQuotaBounds: every key refuses nothing, what is negative and what is
// absurd, each with its place and a remedy.
func TestQuotaBounds(t *testing.T) {
	for _, tt := range []struct {
		at      string
		fresh   func(*Options) reflect.Value
		minimum int
	}{
		{"listeners[0].quotas.", func(o *Options) reflect.Value { return reflect.ValueOf(&o.Listeners[0].Quotas).Elem() }, 30},
		{"broker.quotas.", func(o *Options) reflect.Value { return reflect.ValueOf(&o.Broker.Quotas).Elem() }, 20},
	} {
		o := DefaultOptions()
		n := tt.fresh(&o).NumField()
		if n < tt.minimum {
			t.Fatalf("%s has %d keys", tt.at, n)
		}
		for i := range n {
			for _, bad := range []int64{0, -1, 1 << 62} {
				o := DefaultOptions()
				f := tt.fresh(&o)
				key := f.Type().Field(i).Tag.Get("koanf")
				if f.Field(i).Kind() == reflect.String {
					f.Field(i).SetString(fmt.Sprint(bad))
				} else {
					f.Field(i).SetInt(bad)
				}
				if !complains(o.Validate(), tt.at+key) {
					t.Errorf("%s%s: %d is accepted", tt.at, key, bad)
				}
			}
		}
	}
}

func complains(ps []bridge.Problem, path string) bool {
	for _, p := range ps {
		if p.Path == path && p.Text != "" && p.Remedy != "" {
			return true
		}
	}
	return false
}
