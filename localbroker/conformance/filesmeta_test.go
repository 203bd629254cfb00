package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// TestF20F21: the same metadata may come again, however it is written; other
// metadata is refused while the file is open.
func TestF20F21(t *testing.T) {
	t.Parallel()
	s := openDepot(t).sends(5, "c1")
	sum := sumOf("hello")
	s.ok("$file/f1/init", `{"name":"a.bin","checksum":"`+sum+`","user_data":{"a":1,"b":[2]}}`)
	s.ok("$file/f1/init", `{"user_data":{"b":[2],"a":1},"checksum":"`+strings.ToUpper(sum)+`","name":"a.bin","size":null}`)
	for _, other := range []string{`{"name":"b.bin","checksum":"` + sum + `","user_data":{"a":1,"b":[2]}}`, `{"name":"a.bin","checksum":"` + sum + `","user_data":{"a":1,"b":[3]}}`, named} {
		s.wants(0x80, "filemeta_conflict", "$file/f1/init", other)
	}
	s.ok("$file/f1/0", "hello")
	s.ok("$file/f1/fin/5", "")
}

// TestF22F23F24F25F27: metadata is hostile until it has been read: what is no
// good has an answer and makes no file, and odd names that are legal are used as
// they are.
func TestF22F23F24F25F27(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	for _, c := range []struct{ word, payload string }{
		{"invalid_filemeta", `{}`}, {"invalid_filemeta", `{"size":1}`}, {"invalid_filemeta", `[]`}, {"invalid_filemeta", `"x"`}, {"invalid_filemeta", `null`}, {"invalid_filemeta", `7`},
		{"invalid_filemeta_json", `ooops;`}, {"invalid_filemeta_json", ``}, {"invalid_filemeta_json", `{"name":"a.bin"`}, {"invalid_filemeta_json", named + `{}`},
		{"invalid_filemeta", `{"name":7}`}, {"invalid_filemeta", `{"name":"a.bin","size":-1}`}, {"invalid_filemeta", `{"name":"a.bin","size":1.5}`},
		{"invalid_filemeta", `{"name":"a.bin","segments_ttl":0}`}, {"invalid_filemeta", `{"name":"a.bin","checksum":"abc"}`}, {"invalid_filemeta", `{"name":"a.bin","expire_at":"soon"}`},
		{"invalid_filemeta", `{"name":""}`}, {"invalid_filemeta", `{"name":"."}`}, {"invalid_filemeta", `{"name":".."}`}, {"invalid_filemeta", `{"name":"../nice"}`},
		{"invalid_filemeta", `{"name":"/etc/passwd"}`}, {"invalid_filemeta", `{"name":"C:x"}`}, {"invalid_filemeta", `{"name":"a\\b"}`}, {"invalid_filemeta", `{"name":"a\u0000b"}`},
		{"invalid_filemeta", `{"name":"\u0085"}`}, {"invalid_filemeta", `{"name":"a\uffff"}`}, {"invalid_filemeta", `{"name":"` + strings.Repeat("n", 241) + `"}`},
		{"invalid_filemeta", `{"name":"a\ud800"}`}, {"invalid_filemeta", `{"name":"\udc00\ud800"}`}, {"invalid_filemeta", `{"name":"\ud83d\u0061"}`}, {"invalid_filemeta", `{"name":"\ud83d\\ude00"}`},
		{"invalid_filemeta_json", "{\"name\":\"a\xff\"}"}, {"invalid_filemeta_json", "{\"name\":\"a\",\"user_data\":\"\xed\xa0\x80\"}"},
	} {
		s.wants(0x80, c.word, "$file/f1/init", c.payload)
	}
	s.ok("$file/f1/abort", "")
	s.wants(0x80, "incomplete", "$file/f1/fin/0", "")
	d.wantNone()
	s.ok("$file/escaped/init", `{"name":"\u0061\ud83d\ude00\u002ebin\ufffd"}`)
	s.ok("$file/escaped/fin/0", "")
	d.wantFile("c1", "escaped", "a😀.bin\ufffd", "")
	for i, name := range []string{"146%", "%2e%2e", "…", "中文.txt", "a b;rm -rf.txt", "...", ".hidden", strings.Repeat("n", 240)} {
		file := "$file/g" + string(rune('a'+i)) + "/"
		s.ok(file+"init", `{"name":"`+name+`","foo":"bar","user_data":"kept"}`)
		s.ok(file+"0", "data")
		s.ok(file+"fin/4", "")
		d.wantFile("c1", "g"+string(rune('a'+i)), name, "data")
		manifest, err := os.ReadFile(filepath.Join(d.exports, d.placeOf("c1", "g"+string(rune('a'+i)), name)) + ".MANIFEST.json")
		if err != nil || !strings.Contains(string(manifest), `"user_data":"kept"`) || strings.Contains(string(manifest), "foo") {
			t.Errorf("%s: %v", manifest, err)
		}
	}
	d.undisturbed("c2")
}

// TestF26: ids that are hostile as paths make escaped folders.
func TestF26(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ client, file, folder string }{
		{"..", "..", "%2E%2E/%2E%2E"}, {".", "a%b", "%2E/a%25b"}, {"../../etc", "f", "..%2F..%2Fetc/f"}, {`a\b:c`, "f\u0085", "a%5Cb%3Ac/f%C2%85"},
	} {
		d := openDepot(t)
		s := d.sends(5, c.client)
		if s.command("$file/"+c.file+"/init", named) != 0 || s.command("$file/"+c.file+"/0", "x") != 0 || s.command("$file/"+c.file+"/fin/1", "") != 0 {
			t.Errorf("%q %q refused", c.client, c.file)
			continue
		}
		eventually(t, "the file", func() bool { return len(d.exported()) == 1 })
		if got := d.exported()[0]; !strings.HasSuffix(got, "/"+c.folder+"/a.bin") {
			t.Errorf("%q %q is %s", c.client, c.file, got)
		}
		d.undisturbed("c2")
	}
}

// TestF28F30: a topic that is not right is answered with what is wrong.
func TestF28F30(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	sum := sumOf("x")
	for _, c := range []struct{ word, topic string }{
		{"invalid_fileid", "$file/"}, {"invalid_fileid", "$file//init"}, {"invalid_file_command", "$file/f"}, {"invalid_offset", "$file/f/"}, {"invalid_offset", "$file/f/fin"},
		{"invalid_offset", "$file-async/f/init/x"}, {"invalid_size", "$file/f/fin/x"}, {"invalid_size", "$file/f/fin/-1"}, {"invalid_offset", "$file/f/-5"},
		{"invalid_offset", "$file/f/1.5"}, {"invalid_offset", "$file/f/0x10"}, {"invalid_offset", "$file/f/9223372036854775808"}, {"invalid_offset", "$file/f/9007199254740993"},
		{"invalid_checksum", "$file/f/fin/1/" + sum[1:]}, {"invalid_checksum", "$file/f/0/" + "g" + sum[1:]}, {"invalid_file_command", "$file/f/0/" + sum + "/x"},
		{"invalid_file_command", "$file/f/fin/1/" + sum + "/x/y/z"}, {"enametoolong", "$file/" + strings.Repeat("x", 256) + "/init"}, {"enametoolong", "$file/" + strings.Repeat(":", 86) + "/init"},
	} {
		s.wants(0x80, c.word, c.topic, "")
	}
	s.ok("$file/f/007/"+strings.ToUpper(sum), "x")
	d.undisturbed("c2")
}

// TestF29F31F32: the checksum of a segment is looked at before it is kept, that
// of the file before it is exported; the one of fin comes before that of init.
func TestF29F31F32(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", `{"name":"a.bin","checksum":"`+sumOf("other")+`"}`)
	s.wants(0x80, "checksum_mismatch", "$file/f1/0/"+sumOf("other"), "hello")
	s.wants(0x80, "incomplete", "$file/f1/fin/5/"+sumOf("hello"), "")
	s.ok("$file/f1/0/"+sumOf("hello"), "hello")
	s.wants(0x80, "checksum_mismatch", "$file/f1/fin/5", "")
	s.wants(0x80, "checksum_mismatch", "$file/f1/fin/5/"+sumOf("wrong"), "")
	d.wantNone()
	s.ok("$file/f1/fin/5/"+sumOf("hello"), "")
	d.placeOf("c1", "f1", "a.bin")
}

// TestF33F34F53: a fin that comes again is answered with success; an id that is
// used for another file is refused, and the first file stays. f10 has nothing to
// do with f1.
func TestF33F34F53(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f10/init", named)
	s.ok("$file/f10/0", "hello")
	s.ok("$file/f10/5", "world")
	s.ok("$file/f10/fin/10", "")
	d.wantFile("c1", "f10", "a.bin", "helloworld")
	s.wants(0x80, "incomplete", "$file/f1/fin/10", "") // F53
	for range 2 {
		s.ok("$file/f10/fin/10", "")
		s.ok("$file/f10/fin/10/"+sumOf("helloworld"), "")
	}
	s.wants(0x80, "filemeta_conflict", "$file/f10/fin/9", "")
	s.wants(0x80, "filemeta_conflict", "$file/f10/fin/10/"+sumOf("x"), "")

	// The device has lost the answers to its last segment and fin.
	s.ok("$file/f10/5", "world")
	s.ok("$file/f10/fin/10", "")
	// It begins anew with the same.
	s.ok("$file/f10/init", named)
	s.ok("$file/f10/0", "helloworld")
	s.ok("$file/f10/fin/10", "")
	// And with something else.
	s.ok("$file/f10/init", named)
	s.ok("$file/f10/0", "HELLOWORLD")
	s.wants(0x80, "filemeta_conflict", "$file/f10/fin/10", "")
	s.ok("$file/f10/abort", "")
	s.ok("$file/f10/5", "WORLD")
	s.wants(0x80, "incomplete", "$file/f10/fin/10", "")
	d.wantFile("c1", "f10", "a.bin", "helloworld")
	if got := d.exported(); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// TestF34EachState: whatever has become of the first file, an id that is used for
// another one is refused at fin, with every way to say what it is; the first one sent
// again is a success, also over what is left of the other.
func TestF34EachState(t *testing.T) {
	const first, other = "helloworld", "HELLOWORLD"
	again := func(s *sender) {
		s.tb.Helper()
		for _, init := range []string{named, `{"name":"b.bin"}`, `{"name":"a.bin","checksum":"` + sumOf(other) + `"}`} {
			s.ok("$file/f1/init", init)
			s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10/"+sumOf(other), "")
			s.ok("$file/f1/0", other[:4])
			s.ok("$file/f1/4", other[4:])
			s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10", "")
			s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10/"+sumOf(other), "")
			s.wants(0x80, "filemeta_conflict", "$file/f1/fin/4", "")
			s.ok("$file/f1/abort", "")
		}
		s.ok("$file/f1/init", `{"name":"a.bin","checksum":"`+sumOf(other)+`"}`)
		s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10", "") // nothing of it has come
		s.ok("$file/f1/abort", "")

		s.ok("$file/f1/0", other)
		s.ok("$file/f1/init", `{"name":"a.bin","checksum":"`+sumOf(first)+`"}`)
		s.ok("$file/f1/fin/10", "")
		s.ok("$file/f1/0", other)
		s.ok("$file/f1/fin/10/"+sumOf(first), "")
		// An init begins a file, of which only the whole tells that it is the first.
		s.ok("$file/f1/init", named)
		s.wants(0x80, "incomplete", "$file/f1/fin/10", "")
		s.ok("$file/f1/0", first[:5])
		s.wants(0x80, "incomplete", "$file/f1/fin/10", "")
		s.ok("$file/f1/5", first[5:])
		s.ok("$file/f1/fin/10", "")
		// Another name is another file, whatever is in it.
		s.ok("$file/f1/init", `{"name":"b.bin"}`)
		s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10", "")
		s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10/"+sumOf(first), "")
		s.ok("$file/f1/0", first)
		s.wants(0x80, "filemeta_conflict", "$file/f1/fin/10", "")
		s.ok("$file/f1/abort", "")

		s.ok("$file/f1/init", named) // nothing of all that is left
		s.ok("$file/f1/0", first)
		s.ok("$file/f1/fin/10", "")
	}
	sends := func(s *sender) {
		s.tb.Helper()
		s.ok("$file/f1/init", named)
		s.ok("$file/f1/0", first)
		s.ok("$file/f1/fin/10", "")
	}
	t.Run("exported", func(t *testing.T) {
		d := openDepot(t)
		s := d.sends(5, "c1")
		sends(s)
		d.wantFile("c1", "f1", "a.bin", first)
		again(s)
		d.restart()
		s = d.sends(5, "c1")
		again(s)
		d.wantFile("c1", "f1", "a.bin", first)
		if err := d.service.Remove(t.Context(), "c1", "f1"); err != nil { // the operator frees the id
			t.Fatal(err)
		}
		s.ok("$file/f1/init", named)
		s.ok("$file/f1/0", other)
		s.ok("$file/f1/fin/10", "")
		d.wantFile("c1", "f1", "a.bin", other)
	})
	t.Run("queued", func(t *testing.T) {
		d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
		s := d.sends(5, "c1")
		sends(s)
		<-held.asked
		again(s)
		held.let <- nil
		d.wantFile("c1", "f1", "a.bin", first)
	})
	t.Run("refused by the target", func(t *testing.T) {
		d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
		s := d.sends(5, "c1")
		sends(s)
		<-held.asked
		held.let <- bridge.Errorf(bridge.OpExport, bridge.TooLarge, "more than an object has")
		eventually(t, "the refusal", func() bool { return d.only("c1", "f1").State == upload.StateFailed })
		again(s)
		d.wantNone()
	})
}
