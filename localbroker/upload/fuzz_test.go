package upload

import (
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// FuzzTopic: whatever the topic, what is taken out of it stays in its bounds.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"$file/f/init", "$file-async/f/0", "$file/f/5/" + strings.Repeat("a", 64), "$file/f/fin/16", "$file/../abort", "$file//x", "$file/f/fin/9223372036854775808", "$file-response/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		c, err := parseTopic(topic)
		if err != nil {
			if _, ok := errors.AsType[*Fault](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		if c.verb == 0 || c.fileID == "" || c.offset < 0 || c.offset > maxNumber || c.size < 0 || c.size > maxNumber {
			t.Errorf("%q: %+v", topic, c)
		}
		if e := bridge.EscapeID(c.fileID); e == "." || e == ".." || e == "" || strings.ContainsAny(e, `/\:`) || len(e) > maxComponent || path.Base(e) != e {
			t.Errorf("%q is %q", c.fileID, e)
		}
	})
}

// FuzzMeta: what is taken for metadata has a name that stays in its folder,
// equals itself, and comes back from its record and its manifest.
func FuzzMeta(f *testing.F) {
	for _, s := range []string{`{"name":"a.bin"}`, `{"name":"a","size":"5","user_data":{"x":[1,2]},"segments_ttl":1}`, `[]`, `{"name":"../x"}`, `{"name":null}`, `{"name":"a","expire_at":1e3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parseMeta(payload)
		if err != nil {
			if _, ok := errors.AsType[*Fault](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		if path.Base(m.Name) != m.Name || m.Name == ".." || len(m.Name) > maxName {
			t.Errorf("name %q", m.Name)
		}
		var again transferRecord
		if err := decodeJSON(encodeJSON(transferRecord{Meta: m}), &again); err != nil || !m.equal(again.Meta) {
			t.Errorf("%s is %+v, %v", payload, again.Meta, err)
		}
		f := bridge.File{}
		if f.Meta, err = m.complete(&checksum{}); err != nil || !json.Valid(f.Manifest()) {
			t.Errorf("%s: %v", f.Manifest(), err)
		}
	})
}
