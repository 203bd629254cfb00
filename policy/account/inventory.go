package account

import (
	"strings"
	"time"
)

// inventory is what an account holds, as far as policies are concerned. Its
// JSON is account.json, and parts of it are the lines of the journal.
type inventory struct {
	Format    int       `json:"format"`
	Partition string    `json:"partition,omitempty"`
	Account   string    `json:"account,omitempty"`
	Region    string    `json:"region"`
	PulledAt  time.Time `json:"pulled_at"`

	Policies     []policyRecord      `json:"policies"`
	Groups       []groupRecord       `json:"groups"`
	Types        []typeRecord        `json:"types"`
	Things       []thingRecord       `json:"things"`
	Certificates []certificateRecord `json:"certificates"`
	Notes        []Note              `json:"notes"`
}

// inventoryFormat is raised when account.json changes its meaning.
const inventoryFormat = 1

type policyRecord struct {
	Name     string          `json:"name"`
	Here     string          `json:"here"` // its name in the policies folder
	ARN      string          `json:"arn,omitempty"`
	Version  string          `json:"default_version,omitempty"`
	Created  *time.Time      `json:"created,omitempty"`
	Modified *time.Time      `json:"modified,omitempty"`
	Versions []versionRecord `json:"versions,omitempty"`
	Targets  []string        `json:"targets,omitempty"` // as AWS names them: ARNs, Cognito identities

	Document string `json:"-"`
}

type versionRecord struct {
	ID      string     `json:"id"`
	Default bool       `json:"default,omitempty"`
	Created *time.Time `json:"created,omitempty"`

	Document string `json:"-"`
}

type groupRecord struct {
	Name        string            `json:"name"`
	ARN         string            `json:"arn,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Query       string            `json:"query,omitempty"` // of a dynamic group
	Description string            `json:"description,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`

	Members []string `json:"-"`
}

type typeRecord struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Searchable  []string `json:"searchable_attributes,omitempty"`
	Deprecated  bool     `json:"deprecated,omitempty"`
}

type thingRecord struct {
	Name            string   `json:"name"`
	OtherPrincipals []string `json:"other_principals,omitempty"` // that are no certificates

	Type         string            `json:"-"`
	Attributes   map[string]string `json:"-"`
	Groups       []string          `json:"-"`
	Certificates []string          `json:"-"`
	Exclusive    []string          `json:"-"` // those of Certificates bound to this thing alone
}

type certificateRecord struct {
	ID        string     `json:"id"`
	ARN       string     `json:"arn,omitempty"`
	Status    string     `json:"status"`
	Mode      string     `json:"mode,omitempty"`
	Created   *time.Time `json:"created,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`

	PEM       string   `json:"-"`
	Policies  []string `json:"-"` // AWS's names
	Exclusive bool     `json:"-"`
}

// Note says what of the account the registry cannot express, or what was odd.
type Note struct {
	Subject string `json:"subject"` // `policy "p"`, "thing groups"
	Text    string `json:"text"`
}

func (v *inventory) note(subject, text string) {
	v.Notes = append(v.Notes, Note{subject, text})
}

// arnParts are the fields of an ARN of AWS IoT that we read.
type arnParts struct{ partition, region, account, kind, name string }

// readARN takes arn:aws:iot:REGION:ACCOUNT:kind/name apart.
func readARN(text string) (arnParts, bool) {
	f := strings.SplitN(text, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return arnParts{}, false
	}
	kind, name, ok := strings.Cut(f[5], "/")
	return arnParts{f[1], f[3], f[4], kind, name}, ok
}
