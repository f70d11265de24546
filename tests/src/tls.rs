//! Certificates for tests: an authority of its own for every test, and what it signs.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::root::TempRoot;

/// A certificate authority whose certificate lies in a file of the root.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate, for `sslrootcert`.
    pub certificate: PathBuf,
}

/// A certificate and its private key as files of the root, mode 0600.
pub struct Identity {
    /// For `ssl_cert_file`, `sslcert`.
    pub certificate: PathBuf,
    /// For `ssl_key_file`, `sslkey`.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority; its certificate is in `NAME.crt`.
    #[track_caller]
    pub fn new(root: &TempRoot, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = root.file(format!("{name}.crt"), params.self_signed(&key).unwrap().pem());
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for those host names and addresses, in `NAME.crt` and `NAME.key`; the common name is the first.
    #[track_caller]
    pub fn issue(&self, root: &TempRoot, name: &str, hosts: &[&str]) -> Identity {
        let mut params =
            CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>()).unwrap();
        if let Some(&common_name) = hosts.first() {
            params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: root.file(format!("{name}.crt"), certificate.pem()),
            key: root.file(format!("{name}.key"), key.serialize_pem()),
        }
    }
}
