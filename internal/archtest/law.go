package archtest

import "strings"

// Law is what the tree must keep.
type Law struct {
	Module   string   // module path
	Top      []string // names allowed at the root of the repository
	MaxLines int      // of one Go file, tests included

	// Layers says for each folder which of our own packages its non-test files
	// may import. The first entry that covers a folder counts. Patterns are
	// folders relative to the root; "a/..." covers a and everything below.
	Layers []Layer

	// TestImports are our own packages that any test may import as well.
	TestImports []string

	// Houses says for each dependency which folders may import it. A module
	// that no entry covers is not allowed at all.
	Houses []House

	Drawers    []string // names that no package may have
	Exceptions []Exception
}

// Layer says what one folder may import of ours.
type Layer struct {
	Folder string   // pattern
	May    []string // patterns; itself and its own subfolders need not be listed
}

// House says where one dependency lives.
type House struct {
	Module  string   // module path, without its major version suffix
	Folders []string // patterns of folders whose non-test files may import it
	Tests   []string // patterns of folders whose tests may import it too
	Public  bool     // its types may appear in exported signatures

	// Packages are all of it that may be imported, by anybody; empty: any of it.
	Packages []string
}

// Ebbgate is the law of this repository, after the design.
func Ebbgate() *Law {
	const anywhere = "..."
	return &Law{
		Module:   "github.com/ebbgate/ebbgate",
		MaxLines: 400,
		Top: []string{
			"cmd", "bridge", "localbroker", "upstream", "policy", "spool", "rules", "configs",
			"internal", "docs", "packaging",
			"go.mod", "go.sum", "Makefile",
			"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE",
			"bin", // made by make build, ignored by git
		},
		Layers: []Layer{
			{Folder: "cmd/...", May: []string{anywhere}},
			{Folder: "bridge/..."},
			// The proof that the broker does as AWS does runs it with all that stands behind it.
			{Folder: "localbroker/conformance", May: []string{"bridge", "localbroker", "localbroker/upload", "localbroker/delivery", "internal/sandbox", "policy", "rules", "spool", "upstream/folder"}},
			// A family of topics is a broker's idea.
			{Folder: "localbroker/delivery", May: []string{"bridge", "localbroker", "internal/partfile"}},
			{Folder: "localbroker/...", May: []string{"bridge"}},
			{Folder: "policy", May: []string{"bridge"}},
			{Folder: "policy/strictyaml"},
			{Folder: "policy/...", May: []string{"bridge", "policy", "policy/strictyaml"}},
			{Folder: "rules/payload"},
			{Folder: "rules/...", May: []string{"bridge", "rules/payload"}},
			{Folder: "spool/...", May: []string{"bridge"}},
			{Folder: "upstream", May: []string{"bridge"}},
			{Folder: "upstream/...", May: []string{"bridge", "upstream"}},
			{Folder: "configs/...", May: []string{"bridge", "localbroker/...", "policy", "rules", "spool", "upstream/..."}},
			{Folder: "internal/bench/...", May: []string{anywhere}},
			{Folder: "internal/demo/...", May: []string{"bridge", "internal/..."}},
			{Folder: "internal/scenario", May: []string{"bridge", "internal/tally", "internal/sandbox"}},
			{Folder: "internal/...", May: []string{"bridge", "internal/tally"}},
		},
		TestImports: []string{"internal/peers", "internal/devices", "internal/tally", "upstream/upstreamtest"},
		Houses: []House{
			{Module: "golang.org/x/sync", Folders: []string{anywhere}},
			{Module: "golang.org/x/sys", Folders: []string{"spool", "internal/...", "cmd/...", "localbroker", "localbroker/upload", "upstream/..."}},
			{Module: "golang.org/x/time", Folders: []string{"upstream/...", "localbroker", "localbroker/delivery", "localbroker/upload", "internal/sandbox"}},
			{Module: "golang.org/x/term", Folders: []string{"cmd/..."}},
			{Module: "golang.org/x/crypto", Folders: []string{"localbroker", "policy"}, Tests: []string{anywhere}},
			// Its packets only: no user meets what its server does, nor how it is kept up (ADR 6).
			{Module: "github.com/mochi-mqtt/server", Folders: []string{"localbroker/..."}, Packages: []string{"github.com/mochi-mqtt/server/v2/packets"}},
			{Module: "github.com/open-policy-agent/opa", Folders: []string{"policy/..."}},
			{Module: "github.com/dgraph-io/badger", Folders: []string{"spool/..."}},
			{Module: "github.com/dgraph-io/ristretto", Folders: []string{"spool/..."}},
			{Module: "github.com/eclipse/paho.golang", Folders: []string{"upstream/mqtt", "internal/devices"}, Tests: []string{anywhere}},
			{Module: "github.com/eclipse/paho.mqtt.golang", Folders: []string{"internal/devices", "internal/peers/programs/pahofile", "upstream/mqtt"}, Tests: []string{anywhere}},
			{Module: "github.com/gorilla/websocket", Folders: []string{"localbroker", "upstream/mqtt"}, Tests: []string{anywhere}},
			{Module: "github.com/prometheus/client_golang", Folders: []string{"internal/telemetry"}},
			{Module: "github.com/knadh/koanf", Folders: []string{"configs"}},
			{Module: "github.com/goccy/go-yaml", Folders: []string{"configs"}},
			{Module: "gopkg.in/yaml", Folders: []string{"policy/...", "localbroker", "configs"}},
			{Module: "github.com/aws/aws-sdk-go-v2", Folders: []string{"policy/account", "upstream/aws", "upstream/s3"}},
			{Module: "github.com/aws/smithy-go", Folders: []string{"policy/account", "upstream/aws", "upstream/s3"}},
			{Module: "cel.dev/cel-go", Folders: []string{"rules/where"}},
			{Module: "github.com/fxamacker/cbor", Folders: []string{"rules/payload", "localbroker/delivery", "internal/sandbox"}, Tests: []string{"localbroker/conformance", "internal/scenario"}},
			{Module: "github.com/klauspost/compress", Folders: []string{"rules/shape"}},
			{Module: "github.com/spf13/cobra", Folders: []string{"cmd/..."}},
			{Module: "github.com/google/uuid", Folders: []string{"localbroker/...", "policy", "internal/..."}},
			{Module: "github.com/rogpeppe/go-internal", Tests: []string{anywhere}},
			{Module: "github.com/Shopify/toxiproxy", Tests: []string{anywhere}},
			{Module: "go.uber.org/goleak", Tests: []string{anywhere}},
			{Module: "pgregory.net/rapid", Tests: []string{anywhere}},
		},
		Drawers:    []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "managers", "misc", "shared", "base", "lib"},
		Exceptions: exceptions(),
	}
}

// covers reports whether a folder pattern covers a folder.
func covers(pattern, folder string) bool {
	if pattern == "..." {
		return true
	}
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return folder == root || strings.HasPrefix(folder, root+"/")
	}
	return pattern == folder
}

func anyCovers(patterns []string, folder string) bool {
	for _, p := range patterns {
		if covers(p, folder) {
			return true
		}
	}
	return false
}

// layer finds the layer of a folder.
func (l *Law) layer(folder string) (Layer, bool) {
	for _, y := range l.Layers {
		if covers(y.Folder, folder) {
			return y, true
		}
	}
	return Layer{}, false
}

// house finds the house of an imported path; ok is false for the standard
// library and for our own packages.
func (l *Law) house(importPath string) (h House, known, thirdParty bool) {
	first, _, _ := strings.Cut(importPath, "/")
	if !strings.Contains(first, ".") || importPath == l.Module || strings.HasPrefix(importPath, l.Module+"/") {
		return House{}, false, false
	}
	for _, h := range l.Houses {
		rest, ok := strings.CutPrefix(importPath, h.Module)
		if ok && (rest == "" || rest[0] == '/' || rest[0] == '.') {
			return h, true, true
		}
	}
	return House{}, false, true
}
