package harness;

import java.util.List;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/** A node with plugins from the class path, as 2.x constructs it. */
final class PluginNode extends Node {
    PluginNode(Environment environment, List<Class<? extends Plugin>> plugins) {
        super(environment, plugins, true);
    }
}
