package lint

import (
	"regexp"
	"slices"
	"strings"
)

// Gateway is whose ARNs the documents are for. An empty field is not compared.
type Gateway struct {
	Partition, Region, Account string
}

// arnFields are the places in an ARN that say whose it is.
var arnFields = []struct {
	at   int
	name string
	of   func(Gateway) string
}{
	{1, "partition", func(g Gateway) string { return g.Partition }},
	{3, "region", func(g Gateway) string { return g.Region }},
	{4, "account", func(g Gateway) string { return g.Account }},
}

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// partitionOf is the partition that a region is in.
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc"
	}
	return "aws"
}

var regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)

// eachARN calls found for the ARNs of resources, and for those that conditions
// compare the will's topic with.
func (i *inspector) eachARN(found func(st *statement, n *node, fields []string)) {
	for _, st := range i.set.statements() {
		for _, r := range st.resources {
			if r.fields != nil {
				found(st, r.node, r.fields)
			}
		}
		for _, c := range st.on(keyWillTopic) {
			for _, v := range c.values {
				if strings.HasPrefix(v.text, "arn:") {
					found(st, v, strings.SplitN(v.text, ":", 6))
				}
			}
		}
	}
}

// findL22 finds ARNs that no request of the gateway has. Where it is not said
// whose the gateway is, an ARN that differs from nearly all others of the run
// is a remark.
func findL22(i *inspector) {
	i.eachARN(func(st *statement, n *node, fields []string) {
		if len(fields) < 6 {
			if !strings.Contains(strings.Join(fields, ":"), "*") {
				i.at(st, n, detail{message: "an ARN has six fields, this one has " + itoa(len(fields)), fix: "write arn:aws:iot:<region>:<account>:<type>/<name>"})
			}
			return
		}
		if fields[2] != "iot" && !wild(fields[2]) {
			i.at(st, n, detail{message: quote(fields[2]) + " is another service: no request to AWS IoT has such an ARN", fix: "write iot in the third field"})
			return
		}
		for _, f := range arnFields {
			if d, wrong := i.foreign(fields, f.at, f.name, f.of); wrong {
				i.at(st, n, d)
				return
			}
		}
	})
}

// foreign judges one field of an ARN.
func (i *inspector) foreign(fields []string, at int, name string, of func(Gateway) string) (detail, bool) {
	text := fields[at]
	want, usual := of(i.gateway), of(i.usual)
	covers := func(whole string) bool { return parsePattern(text, version2008).covers(literals(whole)) }
	switch {
	case strings.Contains(text, "${"):
		return detail{}, false // L08
	case text == "":
		return detail{message: "the " + name + " is empty, so no request's ARN fits", fix: "write the " + name + orWildcard(want)}, true
	case wild(text):
		if want != "" && !covers(want) {
			return detail{message: "the " + name + " " + quote(text) + " does not cover the gateway's, " + want, fix: "write " + want}, true
		}
		return detail{}, false
	case want != "" && text != want:
		return detail{message: "the " + name + " is " + text + ", the gateway's is " + want + ": no request of this gateway fits", fix: "write " + want}, true
	case want != "":
		return detail{}, false
	case name == "account" && !accountForm.MatchString(text):
		return detail{message: quote(text) + " is no account: it has 12 digits", fix: "write the account's number"}, true
	case name == "region" && !regionForm.MatchString(text):
		return detail{message: quote(text) + " is no region", fix: "write a region such as eu-central-1"}, true
	case name == "partition" && regionForm.MatchString(fields[3]) && partitionOf(fields[3]) != text:
		return detail{message: "the region " + fields[3] + " is in the partition " + partitionOf(fields[3]) + ", not in " + text, fix: "write arn:" + partitionOf(fields[3]) + ":"}, true
	case usual != "" && text != usual:
		return detail{severity: Low, message: "the " + name + " is " + text + ", nearly all other ARNs here say " + usual, fix: "write " + usual + ", or say whose the gateway is with --" + name}, true
	}
	return detail{}, false
}

func orWildcard(want string) string {
	if want != "" {
		return ", " + want
	}
	return ""
}

// findL25 finds wildcards in the fields that say whose an ARN is.
func findL25(i *inspector) {
	i.eachARN(func(st *statement, n *node, fields []string) {
		for _, f := range arnFields {
			if f.at >= len(fields) || !wild(fields[f.at]) {
				continue
			}
			d := detail{message: "a * in the " + f.name + " can run past the colon that follows"}
			if len(fields) == 6 {
				d.message += ", and reach names that hold " + quote(":"+fields[5])
			}
			i.at(st, n, d)
			return
		}
	})
}

// usualOf finds what nearly all ARNs say: at least four of them, and three out
// of four.
func usualOf(documents []*document) Gateway {
	var g Gateway
	for _, f := range arnFields {
		count, total := map[string]int{}, 0
		for _, d := range documents {
			for _, st := range d.statements {
				for _, r := range st.resources {
					if len(r.fields) == 6 && !wild(r.fields[f.at]) {
						count[r.fields[f.at]]++
						total++
					}
				}
			}
		}
		for text, n := range count {
			if total < 4 || n*4 < total*3 {
				continue
			}
			switch f.name {
			case "partition":
				g.Partition = text
			case "region":
				g.Region = text
			case "account":
				g.Account = text
			}
		}
	}
	return g
}

// findL09 finds documents of the older language. With variables in them it is
// worse: they are plain text there.
func findL09(i *inspector) {
	for _, d := range i.set.documents {
		if d.language() == version2012 {
			continue
		}
		n := d.version
		f := detail{message: "there is no Version, so the document is of 2008-10-17"}
		if n == nil {
			n = &node{offset: d.root.offset, end: d.root.offset + 1}
		} else {
			f.message = "Version 2008-10-17 is the older language"
		}
		if strings.Contains(string(d.text), "${") {
			f.severity = Critical
			f.message += ", in which ${…} is plain text: an Allow with it grants nothing, a Deny denies nothing"
		}
		i.add(d, nil, n, f)
	}
}

// findL27 finds documents that are nearly full. The number of policies at one
// principal is looked at where the registry is read.
func findL27(i *inspector) {
	for _, d := range i.set.documents {
		if n := characters(d.text); n*10 > maxDocument*9 {
			i.add(d, nil, &node{offset: d.root.offset, end: d.root.offset + 1}, detail{
				message: "the document has " + itoa(n) + " of " + itoa(maxDocument) + " characters, white space not counted: little can be added",
				fix:     "split it in two policies, or use variables and wildcards",
			})
		}
	}
}

// certificateNames are the variables that a certificate's subject fills, which
// several certificates may share.
var certificateName = regexp.MustCompile(`(?i)^iot:Certificate\.(Subject|Issuer)\.`)

// findL34 finds topics that only a certificate's name tells apart. Whether the
// certificate is shared only the registry says; without it the finding is a
// remark.
func findL34(i *inspector) {
	if i.set.known && i.set.shared == "" {
		return
	}
	for _, st := range i.set.statements() {
		if st.deny || st.notResource != nil {
			continue
		}
		for _, r := range st.resources {
			vars := r.name.variables()
			at := slices.IndexFunc(vars, func(v symbol) bool { return certificateName.MatchString(v.name) })
			own := slices.ContainsFunc(vars, func(v symbol) bool {
				return ofThing(v.name) || strings.EqualFold(v.name, keyClientID) || strings.EqualFold(v.name, "iot:CertificateId")
			})
			if at < 0 || own || len(r.of(kindTopic))+len(r.of(kindFilter)) == 0 {
				continue
			}
			d := detail{message: "${" + vars[at].name + "} is all that tells devices apart in " + r.short() + "; " + i.set.shared, fix: "use ${iot:CertificateId}, or ${iot:Connection.Thing.ThingName}"}
			if !i.set.known {
				d.severity = Low
				d.message = "${" + vars[at].name + "} is all that tells devices apart in " + r.short() + ": certificates with the same name share it"
			}
			i.at(st, r.node, d)
		}
	}
}
