package account

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// reserved are the names that Windows keeps for devices, whatever comes after
// a dot: con.json is the console.
var reserved = []string{"con", "prn", "aux", "nul",
	"com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9"}

// namesHere gives each policy of the account the name that it has here, which
// is its file's as well. Most keep their own. One that no file can bear, since
// it begins with a dot, is a device on Windows, or differs from another only
// in case, becomes _<name>@<hash>: the same each time, whatever else is in the
// account, so that a pull changes no file without need. Of several that differ
// only in case none keeps its name, so that none is taken for the other.
func namesHere(names []string) map[string]string {
	folded := map[string]int{}
	for _, n := range names {
		folded[strings.ToLower(n)]++
	}
	out := make(map[string]string, len(names))
	taken := map[string]bool{}
	for _, n := range names {
		if bearable(n) && folded[strings.ToLower(n)] == 1 {
			out[n] = n
			taken[strings.ToLower(n)] = true
		}
	}
	for _, n := range slices.Sorted(slices.Values(names)) {
		if _, done := out[n]; done {
			continue
		}
		sum := sha256.Sum256([]byte(n))
		hash := hex.EncodeToString(sum[:])
		for digits := 8; ; digits++ { // longer only if somebody has a policy of that very name
			alias := "_" + n[:min(len(n), 128-digits-2)] + "@" + hash[:digits]
			if !taken[strings.ToLower(alias)] {
				out[n] = alias
				taken[strings.ToLower(alias)] = true
				break
			}
		}
	}
	return out
}

// bearable reports whether a file can have the name on every system, and is
// not passed over by the loader.
func bearable(name string) bool {
	first, _, _ := strings.Cut(strings.ToLower(name), ".")
	return !strings.HasPrefix(name, ".") && !slices.Contains(reserved, first)
}
