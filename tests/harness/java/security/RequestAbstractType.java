package org.opensaml.saml.saml2.core;

/** Stands for OpenSAML's, which is not on Maven Central: the security plugin only needs the name to load. */
public interface RequestAbstractType { }
