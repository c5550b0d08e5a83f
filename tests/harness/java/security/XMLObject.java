package org.opensaml.core.xml;

/** Stands for OpenSAML's, which is not on Maven Central: the security plugin only needs the name to load. */
public interface XMLObject { }
