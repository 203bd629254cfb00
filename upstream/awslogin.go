package upstream

import "github.com/ebbgate/ebbgate/bridge"

// ValidateLogin lists what is wrong with credentials of AWS, by the names that their
// options have wherever somebody logs in there.
func ValidateLogin(profile, accessKeyID, secretAccessKey, sessionToken string) (out []bridge.Problem) {
	add := func(path, text, remedy string) {
		out = append(out, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	switch {
	case accessKeyID != "" && secretAccessKey == "":
		add("secret_access_key", "an access key is given without its secret", "set it, or remove access_key_id")
	case accessKeyID == "" && secretAccessKey != "":
		add("access_key_id", "a secret is given without its access key", "set it, or remove secret_access_key")
	case accessKeyID == "" && sessionToken != "":
		add("access_key_id", "a session token is given without its access key", "set access_key_id and secret_access_key, or remove session_token")
	case accessKeyID != "" && profile != "":
		add("profile", "a profile and an access key are given", "choose one")
	}
	return out
}
