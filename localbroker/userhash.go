package localbroker

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
	"gopkg.in/yaml.v3"
)

// HashPassword makes the bcrypt hash that a users file has for a password. One
// of more than 72 bytes is refused, since bcrypt would ignore the rest.
func HashPassword(password []byte) (string, error) {
	switch {
	case len(password) == 0:
		return "", errors.New("the password is empty: type one")
	case len(password) > longestLogin:
		return "", fmt.Errorf("the password has %d bytes, of which only %d would count: choose a shorter one", len(password), longestLogin)
	case bytes.IndexByte(password, 0) >= 0:
		return "", errors.New("the password holds a NUL byte: type it as text")
	}
	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return string(hash), nil
}

// UserLine is the line of a users file for a name and its hash, with the name
// quoted where YAML wants that. It ends with a line feed.
func UserLine(name, hash string) (string, error) {
	line, err := yaml.Marshal(map[string]string{name: hash})
	if err != nil {
		return "", fmt.Errorf("user %q: %w", name, err)
	}
	return string(line), nil
}
