package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// plain makes numbers of JSON and CBOR alike.
func plain(v any) any {
	raw, err := json.Marshal(textual(v))
	var out any
	if err != nil || json.Unmarshal(raw, &out) != nil {
		return v
	}
	return out
}

// textual gives maps of CBOR keys that JSON can write.
func textual(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := map[string]any{}
		for k, e := range v {
			out[fmt.Sprint(k)] = textual(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = textual(e)
		}
		return out
	}
	return v
}

func (b *streamBed) expectFields(m heard, raw json.RawMessage) {
	b.t.Helper()
	if raw == nil {
		return
	}
	for key, value := range must[map[string]any](b.t, raw) {
		got := plain(m.fields[key])
		if text, ok := got.(string); value == "@nonempty" && ok && text != "" {
			continue
		}
		if !reflect.DeepEqual(got, value) {
			b.t.Errorf("%s: %s is %v, want %v", m.topic, key, got, value)
		}
	}
}

func (b *streamBed) expectBlocks(got []heard, e map[string]json.RawMessage) {
	b.t.Helper()
	numbers, messages := must[[]int](b.t, e["block_numbers"]), b.blocksOf(e)
	var came []int
	for _, m := range got {
		came = append(came, int(plain(m.fields["i"]).(float64)))
	}
	if !slices.Equal(came, numbers) {
		b.t.Fatalf("the blocks %v came, want %v", came, numbers)
	}
	if len(messages) != len(numbers) {
		b.t.Fatalf("messages: there are %d of the blocks %v", len(messages), numbers)
	}
	for i, want := range messages {
		sum := sha256.Sum256(got[i].block)
		got[i].fields["p_sha256"] = hex.EncodeToString(sum[:])
		for key, value := range want {
			if v := plain(got[i].fields[key]); !reflect.DeepEqual(v, value) {
				b.t.Errorf("block %d: %s is %v, want %v", numbers[i], key, v, value)
			}
		}
		text := strings.Contains(unquoted(e["p_encoding"]), "base64")
		if e["p_encoding"] == nil {
			text = strings.HasSuffix(got[i].topic, "/json")
		}
		if text != got[i].isText {
			b.t.Errorf("block %d: a text %v, want %v", numbers[i], got[i].isText, text)
		}
	}
}

// blocksOf is what is expected of each block. A case that says nothing has a
// request in JSON.
func (b *streamBed) blocksOf(e map[string]json.RawMessage) (messages []map[string]any) {
	b.t.Helper()
	if e["messages"] != nil {
		return must[[]map[string]any](b.t, e["messages"])
	}
	q := must[map[string]any](b.t, b.c.Steps[number(e["step"])]["payload_json"])
	file, length := int(q["f"].(float64)), int(q["l"].(float64))
	then := b.then[number(e["step"])]
	at := slices.IndexFunc(then.files, func(f streamFile) bool { return f.File == file })
	if at < 0 {
		b.t.Fatalf("block_numbers: the fixture has no file %d", file)
	}
	content := then.content(file, then.files[at].Size)
	for _, i := range must[[]int](b.t, e["block_numbers"]) {
		block := content[i*length : min((i+1)*length, len(content))]
		sum := sha256.Sum256(block)
		messages = append(messages, map[string]any{"f": float64(file), "i": float64(i), "l": float64(len(block)), "p_sha256": hex.EncodeToString(sum[:])})
	}
	return messages
}
