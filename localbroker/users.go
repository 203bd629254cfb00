package localbroker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
	"gopkg.in/yaml.v3"

	"github.com/ebbgate/ebbgate/bridge"
)

const (
	usersFileSize = 4 << 20
	longestLogin  = 72 // bytes of a password that bcrypt looks at
)

// users are the logins of one listener. They are immutable; a reload makes new
// ones.
type users struct {
	hashes map[string][]byte
	decoy  []byte        // compared for unknown users, so that they cost the same
	slots  chan struct{} // bounds the CPU that logins may take
}

// loadUsers reads a YAML file of user names and bcrypt hashes.
func loadUsers(path string) (*users, error) {
	text, err := readFile("users", path, usersFileSize)
	if err != nil {
		return nil, err
	}
	raw := map[string]string{}
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return nil, bridge.Errorf("users", bridge.PayloadInvalid, "%s: %s: write one \"name: bcrypt-hash\" a line", path, strings.ReplaceAll(err.Error(), "\n  ", " "))
	}
	u := &users{hashes: make(map[string][]byte, len(raw)), slots: make(chan struct{}, max(1, min(runtime.GOMAXPROCS(0), runtime.NumCPU())/2))}
	cost := 0
	for name, hash := range raw {
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return nil, bridge.Errorf("users", bridge.PayloadInvalid, "%s: user %q: not a bcrypt hash: make one with ebbgate user hash %s", path, name, name)
		}
		cost = max(cost, c)
		u.hashes[name] = []byte(hash)
	}
	if cost == 0 {
		cost = bcrypt.DefaultCost
	}
	if u.decoy, err = bcrypt.GenerateFromPassword([]byte("nobody"), cost); err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	return u, nil
}

// has reports whether there is a user of that name. Without users there is none.
func (u *users) has(name string) bool {
	if u == nil {
		return false
	}
	_, known := u.hashes[name]
	return known
}

// verify reports whether the password is the user's. It gives up when its turn
// does not come in time, or the connection is done.
func (u *users) verify(name string, password []byte, patience time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-timer.C:
		return false
	case <-done:
		return false
	}
	hash, known := u.hashes[name]
	if !known {
		hash = u.decoy
	}
	password = password[:min(len(password), longestLogin)]
	return bcrypt.CompareHashAndPassword(hash, password) == nil && known
}

// readFile reads a small file that the configuration names, with an error for
// the person who wrote it.
func readFile(op, path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, bridge.Errorf(op, bridge.Unavailable, "%s does not exist: create it, or correct the path", path)
	case err != nil:
		return nil, bridge.Errorf(op, bridge.Unavailable, "%w: correct the path or its permissions", err)
	case info.Size() > limit || !info.Mode().IsRegular():
		return nil, bridge.Errorf(op, bridge.Unavailable, "%s is not a file of at most %v", path, bridge.Size(limit))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, bridge.Errorf(op, bridge.Unavailable, "%w: give the gateway's user the right to read it", err)
	}
	return text, nil
}
