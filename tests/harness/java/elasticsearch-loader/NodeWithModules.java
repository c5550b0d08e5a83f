package harness;

import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;

/** A node of 8.18 or later: the server on the class path, its modules loaded from a folder. */
final class NodeWithModules {
    static Node of(Environment environment, Path modules) throws ReflectiveOperationException {
        // the last `false`: no exports of server modules, because the server lies on the class path
        return new Node(environment, PluginsLoader.createPluginsLoader(bundles(modules), Set.of(), Map.of(), false));
    }

    /** 8.18 to 9.2 take the path alone, 9.5 a boolean more. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> bundles(Path modules) throws ReflectiveOperationException {
        try {
            return (Set<PluginBundle>) PluginsLoader.class.getMethod("loadModulesBundles", Path.class).invoke(null, modules);
        } catch (NoSuchMethodException e) {
            return (Set<PluginBundle>) PluginsLoader.class.getMethod("loadModulesBundles", Path.class, boolean.class)
                .invoke(null, modules, false);
        }
    }
}
