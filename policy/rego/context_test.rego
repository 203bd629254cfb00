package ebbgate.iot_test

import data.ebbgate.iot

attached := {
	"client_id": "t1", "thing_name": "t1", "thing_attached": true, "thing_type": "press",
	"thing_attributes": {"line": "a", "Line": "B"},
}

certified := {"client_id": "t1", "certificate": {
	"id": "c0ffee", "serial": "0A1B",
	"subject": {"CommonName": ["first", "a*b", "3", "4", "5", "sixth"], "AlternativeName.DNSName": ["t1.example"]},
	"issuer": {},
}}

test_thing_needs_attachment_and_the_name if {
	iot.variable("iot:Connection.Thing.ThingName", attached) == "t1"
	iot.variable("iot:connection.thing.thingtypename", attached) == "press"
	not iot.variable("iot:Connection.Thing.ThingName", object.union(attached, {"client_id": "t2"}))
	not iot.variable("iot:Connection.Thing.ThingName", object.union(attached, {"thing_attached": false}))
}

test_exclusive_thing_frees_the_client_id if {
	context := object.union(attached, {"client_id": "t2", "thing_exclusive": true})
	iot.variable("iot:Connection.Thing.ThingName", context) == "t1"
}

test_is_attached_is_always_there_on_mqtt if {
	iot.values("iot:connection.thing.isattached", {}, attached) == ["true"]
	iot.values("iot:connection.thing.isattached", {}, {"client_id": "t1"}) == ["false"]
	iot.values("iot:connection.thing.isattached", {}, object.union(attached, {"protocol": "http"})) == []
	iot.values("iot:clientid", {}, object.union(attached, {"protocol": "http"})) == []
}

test_attribute_names_keep_their_case if {
	iot.variable("IOT:connection.thing.attributes[line]", attached) == "a"
	iot.variable("iot:Connection.Thing.Attributes[Line]", attached) == "B"
	not iot.variable("iot:Connection.Thing.Attributes[LINE]", attached)
}

test_certificate_values if {
	name := "iot:certificate.subject.commonname"
	iot.values(name, {}, certified) == ["first"]
	iot.values(concat("", [name, ".2"]), {}, certified) == ["3"]
	iot.values(concat("", [name, ".5"]), {}, certified) == []
	count(iot.values(concat("", [name, ".list"]), {}, certified)) == 5
	iot.values("iot:certificate.subject.alternativename.dnsname", {}, certified) == ["t1.example"]
	iot.values("iot:certificate.serialnumber", {}, certified) == ["0A1B"]
	iot.variable("iot:CertificateId", certified) == "c0ffee"
}

test_certificate_values_that_are_not_put_in if {
	not iot.variable("iot:Certificate.Subject.CommonName.1", certified)
	not iot.variable("iot:Certificate.Subject.CommonName.List", certified)
	long := {"certificate": {"subject": {"CommonName": [concat("", [sprintf("%01025d", [0])])]}}}
	not iot.variable("iot:Certificate.Subject.CommonName", long)
}

test_default_values if {
	iot.variable("iot:Connection.Thing.ThingTypeName, 'none'", {"client_id": "t1"}) == "none"
	iot.variable("iot:Connection.Thing.ThingTypeName, 'none'", attached) == "press"
}

test_request_keys_are_no_variables if {
	not iot.variable("iot:LastWillTopic", attached)
	not iot.variable("aws:CurrentTime", {"client_id": "t1", "current_time": "2026-01-01T00:00:00Z"})
	iot.variable("aws:SourceIp", {"client_id": "t1", "source_ip": "10.0.0.1"}) == "10.0.0.1"
}
