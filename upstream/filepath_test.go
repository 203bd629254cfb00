package upstream

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// No two files have one path (F51): a template by which they could is refused, with
// what to do.
func TestFilePathRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"${clientid}-${fileid}-${name}":               "put a / between",
		"${clientid}-${fileid}/${name}":               "put a / between",
		"${clientid}${fileid}/${name}":                "put a / between",
		"${clientid}/${fileid}-${name}":               "put a / between",
		"x/${clientid}-${clientid}/${fileid}/${name}": "put a / between",
		"${clientid}/${name}":                         "no ${fileid}",
		"${fileid}/${name}":                           "no ${clientid}",
		"${clientid}/${fileid}":                       "no ${name}",
		"${name}/${clientid}/${fileid}":               "name of a folder",
		"/${clientid}/${fileid}/${name}":              "not a relative path",
		"../${clientid}/${fileid}/${name}":            "not a relative path",
		"${date}/${clientid}/${fileid}/${name}":       "not a relative path",
		"$/{${clientid}/${fileid}/${name}":            "not a relative path",
	} {
		if _, err := ParseFilePath(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// Files whose ids and names run into one another stay apart in every template that is
// taken, beside their manifests too (F51).
func TestFilePathsApart(t *testing.T) {
	t.Parallel()
	ids := []string{"pump", "pump-7", "7", "7-log", "log", "-", "pump/7", "pump%2F7", ".", "..", "%2E", "dev-pump", "a" + bridge.ManifestSuffix}
	names := []string{"a", "log-a", "7-log-a", "-a", "dev-a"}
	for _, text := range []string{"${clientid}/${fileid}/${name}", "site/dev-${clientid}/${fileid}-f/x-${name}", ".${fileid}/${clientid}./.${name}", "${clientid}/a/${fileid}/a/${name}"} {
		place, err := ParseFilePath(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		taken := map[string]bridge.File{}
		for _, client := range ids {
			for _, file := range ids {
				for _, name := range names {
					f := bridge.File{ClientID: client, FileID: file, Name: name}
					for _, path := range []string{place(&f), place(&f) + bridge.ManifestSuffix} {
						if other, ok := taken[path]; ok {
							t.Errorf("%s: %s is of %q and of %q", text, path, []string{client, file, name}, []string{other.ClientID, other.FileID, other.Name})
						}
						taken[path] = f
					}
				}
			}
		}
	}
}
